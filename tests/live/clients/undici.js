// Fetches through a proxy with undici: Debian's package, or what is built into Node.
//
//     node undici.js package|node h1|h2 http://proxy:port ORIGIN
//
// Ten times at once /hello, by fetch; a megabyte to /digest; and with the package /hello once more, by request. What
// came is printed as JSON, with undici's version and the protocols that were agreed on (ALPN), one for each connection.
"use strict";

const diagnostics = require("node:diagnostics_channel");
const http = require("node:http");
const tls = require("node:tls");

const [which, version, proxy, origin] = process.argv.slice(2);
let allowH2 = version === "h2";

const protocols = [];
diagnostics.channel("undici:client:connected").subscribe(({ socket }) => {
  // The connection to the proxy itself is not encrypted.
  if (socket.encrypted) protocols.push(socket.alpnProtocol || "none");
});

// What the package has as ProxyAgent, Node keeps to itself: its Agent gets connections from here.
function connect({ host, hostname, port, servername }, callback) {
  const { hostname: proxyHost, port: proxyPort } = new URL(proxy);
  const asked = http.request({ host: proxyHost, port: proxyPort, method: "CONNECT", path: `${hostname}:${port || 443}` });
  asked.on("error", callback);
  asked.on("connect", (response, socket) => {
    if (response.statusCode !== 200) {
      callback(new Error(`CONNECT: ${response.statusCode}`));
      return;
    }
    const ALPNProtocols = allowH2 ? ["h2", "http/1.1"] : ["http/1.1"];
    const secured = tls.connect({ socket, host: hostname, servername: servername || undefined, ALPNProtocols });
    secured.once("error", callback);
    secured.once("secureConnect", () => {
      secured.off("error", callback);
      callback(null, secured);
    });
  });
  asked.end();
}

async function main() {
  let undici, dispatcher, name;
  if (which === "package") {
    undici = require("undici");
    name = require("undici/package.json").version;
    dispatcher = new undici.ProxyAgent({ uri: proxy, allowH2 });
  } else {
    undici = { fetch };
    // Debian's Node has one that is too old to say, and that would take HTTP/2 for HTTP/1.1.
    name = process.versions.undici || "0.0";
    const [major, minor] = name.split(".").map(Number);
    allowH2 &&= major > 5 || (major === 5 && minor >= 23);
    // The first fetch, of nothing, makes the one that there is.
    await fetch("data:,");
    const { constructor: Agent } = globalThis[Symbol.for("undici.globalDispatcher.1")];
    dispatcher = new Agent({ connect, allowH2 });
  }
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => undici.fetch(`${origin}/hello`, { dispatcher }).then((answer) => answer.text())),
  );
  const body = Buffer.alloc(1000000, "x");
  const digest = await undici.fetch(`${origin}/digest`, { method: "POST", body, dispatcher });
  if (undici.request) {
    const { body: content } = await undici.request(`${origin}/hello`, { dispatcher });
    answers.push(await content.text());
  }
  process.stdout.write(JSON.stringify({ version: name, answers, digest: await digest.json(), protocols }));
  await dispatcher.close();
}

main();
