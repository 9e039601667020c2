// Fetches a URL several times through a proxy, on one connection, and prints how many connections that took.
//
//     node keep_alive.js http://proxy:port URL TIMES
"use strict";

const http = require("node:http");

const [proxy, url, times] = [new URL(process.argv[2]), process.argv[3], Number(process.argv[4])];
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ports = new Set();

function fetchOnce(left) {
  if (left === 0) {
    process.stdout.write(`${ports.size}\n`);
    agent.destroy();
    return;
  }
  http.get({ agent, host: proxy.hostname, port: proxy.port, path: url, headers: { Host: new URL(url).host } }, (response) => {
    ports.add(response.socket.localPort);
    response.resume();
    response.on("end", () => setImmediate(fetchOnce, left - 1));
  });
}

fetchOnce(times);
