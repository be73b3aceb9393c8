import { connect } from "node:net";
import { directoryFor } from "./account.ts";
import { executable } from "./available.ts";
import { reservePort } from "./port.ts";
import { type Server, startServer } from "./server.ts";

export interface RedisServer extends Server {
  /** `redis://127.0.0.1:…` */
  readonly url: string;
  readonly port: number;
}

/** Says one inline command. @returns the reply as Redis wrote it, e.g. `+OK\r\n` */
export function redisSays(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.setTimeout(5_000, () => socket.destroy(new Error("no answer")));
    socket.once("error", reject);
    socket.once("connect", () => socket.write(`${line}\r\n`));
    socket.once("data", (bytes) => {
      socket.destroy();
      resolve(bytes.toString("utf8"));
    });
  });
}

/** Every write is on disk before it is answered, so what a test saw accepted survives `kill`. */
export async function startRedis(): Promise<RedisServer> {
  const account = "redis";
  const directory = directoryFor(account, "redis");
  const port = await reservePort();
  const options = {
    port: port.number,
    bind: "127.0.0.1",
    dir: directory,
    appendonly: "yes",
    appendfsync: "always",
    save: "",
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return startServer(
    {
      name: "redis",
      command: [executable("redis"), ...args],
      account,
      directory,
      ports: [port],
      // `-LOADING` until the data is read
      answers: async () => (await redisSays(port.number, "PING")).startsWith("+PONG"),
    },
    { url: `redis://127.0.0.1:${port.number}`, port: port.number },
  );
}
