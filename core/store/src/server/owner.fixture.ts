/** Owns a server until it is asked to end, or its test has ended; its test kills it. */
import { EmbeddedServer } from "./embedded-server.ts";

const nothing = () => undefined;
const server = await EmbeddedServer.start({
  dataDir: process.argv[2] ?? "",
  ownerUrl: "http://127.0.0.1:8787",
  temporary: process.argv[3] === "temporary",
  log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
});
process.stdin.once("end", () => process.exit(1)).resume();
process.once("SIGTERM", () => {
  process.stdin.destroy();
  void server[Symbol.asyncDispose]();
});
process.stdout.write(`${JSON.stringify({ url: server.url, pid: server.pid, watcher: server.watcherPid })}\n`);
