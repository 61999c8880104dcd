// Reads, writes and deletes through lcache's gRPC interface. Usage: client.js HOST:PORT PROTO_FOLDER
"use strict";

const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const TIMEOUT_MS = 5000;
const GROUP = "scores";

// Makes the client's class and messages from the .proto file.
function loadCache(protoFolder) {
  const definition = protoLoader.loadSync("lcache/v1/cache.proto", {
    includeDirs: [protoFolder],
    enums: String,
    longs: String,
    defaults: true,
  });
  return grpc.loadPackageDefinition(definition).lcache.v1.Cache;
}

// Calls a method, with a deadline, as a promise.
function call(cache, method, request) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + TIMEOUT_MS };
    cache[method]({ group: GROUP, ...request }, options, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

// The value as a Buffer, or null when there is no such key.
async function get(cache, key) {
  try {
    const reply = await call(cache, "Get", { key: Buffer.from(key) });
    console.log(`get ${key}: ${reply.value.length} bytes from ${reply.servedFrom.replace("SERVED_FROM_", "")}`);
    return reply.value;
  } catch (error) {
    if (error.code !== grpc.status.NOT_FOUND) throw error;
    console.log(`get ${key}: not found`);
    return null;
  }
}

async function set(cache, key, value) {
  await call(cache, "Set", { key: Buffer.from(key), value: Buffer.from(value), ttlMs: 60000 });
  console.log(`set ${key}`);
}

async function remove(cache, key) {
  const reply = await call(cache, "Delete", { key: Buffer.from(key) });
  console.log(`delete ${key}: ${reply.deleted ? "it was there" : "it was not there"}`);
}

function describe(result) {
  if (result.code === grpc.status.OK) return `${result.value.length} bytes`;
  if (result.code === grpc.status.NOT_FOUND) return "not found";
  return `failed: ${result.message}`;
}

async function batchGet(cache, keys) {
  const reply = await call(cache, "BatchGet", { keys: keys.map((key) => Buffer.from(key)) });
  for (const result of reply.results) console.log(`batch ${result.key}: ${describe(result)}`);
}

async function main(address, protoFolder) {
  const Cache = loadCache(protoFolder);
  const cache = new Cache(address, grpc.credentials.createInsecure());
  try {
    await remove(cache, "7");
    await get(cache, "7"); // a miss: lcache asks the source
    await get(cache, "7"); // a hit
    await get(cache, "no-such-player");
    await set(cache, "8", "my own value");
    await get(cache, "8");
    await remove(cache, "8");
    await batchGet(cache, ["7", "9", "no-such-player"]);
  } finally {
    cache.close();
  }
}

if (process.argv.length !== 4) {
  console.error("usage: client.js HOST:PORT PROTO_FOLDER");
  process.exit(1);
}
main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
