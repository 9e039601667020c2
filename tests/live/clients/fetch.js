// Fetches a URL through a proxy with nothing but Node's own modules, and prints the answer's status and content.
//
//     node fetch.js http://proxy:port URL [CONTENT]
//
// A request for http is sent to the proxy in absolute form, one for https through a tunnel. With CONTENT it is a POST.
"use strict";

const http = require("node:http");
const https = require("node:https");
const tls = require("node:tls");

const [proxy, url, content] = [new URL(process.argv[2]), new URL(process.argv[3]), process.argv[4]];
const method = content === undefined ? "GET" : "POST";

function answered(response) {
  const pieces = [];
  response.on("data", (piece) => pieces.push(piece));
  response.on("end", () => {
    process.stdout.write(`${response.statusCode}\n${Buffer.concat(pieces)}`);
  });
}

function say(request) {
  request.on("response", answered);
  request.end(content);
}

if (url.protocol === "http:") {
  say(http.request({ host: proxy.hostname, port: proxy.port, method, path: url.href, headers: { Host: url.host } }));
} else {
  const connect = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host });
  connect.on("connect", (response, socket) => {
    if (response.statusCode !== 200) {
      process.stdout.write(`${response.statusCode}\n`);
      socket.destroy();
      return;
    }
    const createConnection = () => tls.connect({ socket, host: url.hostname });
    say(https.request(url, { method, createConnection }));
  });
  connect.end();
}
