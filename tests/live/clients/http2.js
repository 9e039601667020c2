// Asks over one HTTP/2 connection through a proxy's tunnel, with nothing but Node's own modules, and prints JSON.
//
//     node http2.js http://proxy:port URL COUNT          so many requests at once: their statuses and sizes
//     node http2.js http://proxy:port URL websocket TEXT  an extended CONNECT, and one message there and back
"use strict";

const http = require("node:http");
const http2 = require("node:http2");
const tls = require("node:tls");

const [proxy, url] = [new URL(process.argv[2]), new URL(process.argv[3])];
const [what, text] = process.argv.slice(4);
const path = url.pathname + url.search;

function ask(session) {
  return new Promise((resolve, reject) => {
    const request = session.request({ ":path": path });
    let [status, size] = [0, 0];
    request.on("response", (fields) => (status = fields[":status"]));
    request.on("data", (piece) => (size += piece.length));
    request.on("end", () => resolve([status, size]));
    request.on("error", reject);
    request.end();
  });
}

// RFC 6455 section 5.2: a short text message of a client's.
function message(content) {
  const mask = Buffer.from([1, 2, 3, 4]);
  const masked = Buffer.from(content).map((octet, index) => octet ^ mask[index % 4]);
  return Buffer.concat([Buffer.from([0x81, 0x80 | masked.length]), mask, masked]);
}

function talk(session) {
  return new Promise((resolve, reject) => {
    const fields = { ":method": "CONNECT", ":protocol": "websocket", ":path": path, "sec-websocket-version": "13" };
    const request = session.request(fields, { endStream: false });
    let status = 0;
    request.on("response", (answer) => {
      status = answer[":status"];
      request.write(message(text));
    });
    request.on("data", (piece) => {
      request.close();
      resolve([status, piece.subarray(2).toString()]);
    });
    request.on("error", reject);
  });
}

const connect = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host });
connect.on("connect", (response, socket) => {
  const createConnection = () => tls.connect({ socket, host: url.hostname, ALPNProtocols: ["h2"] });
  const session = http2.connect(url.origin, { createConnection });
  session.once("remoteSettings", async () => {
    const asked = what === "websocket" ? [talk(session)] : Array.from({ length: Number(what) }, () => ask(session));
    process.stdout.write(JSON.stringify(await Promise.all(asked)));
    session.close();
  });
});
connect.end();
