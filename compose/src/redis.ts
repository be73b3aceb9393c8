/** Checks whether a Redis server accepts our connection: AUTH and PING, in its own protocol (RESP). */
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";

const DEFAULT_PORT = 6_379;

/** @throws Error with the server's message, or of the network */
export async function askRedis(url: string, timeoutMs: number): Promise<void> {
  const { protocol, hostname, port, username, password } = new URL(url);
  const at = { host: hostname.replaceAll(/^\[|\]$/g, ""), port: Number(port || DEFAULT_PORT) };
  const socket = protocol === "rediss:" ? connectTls({ ...at, servername: at.host }) : connect(at);
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)));
  const secret = decodeURIComponent(password);
  if (secret !== "") socket.write(command("AUTH", decodeURIComponent(username) || "default", secret));
  socket.write(command("PING"));
  socket.write(command("QUIT"));
  const answers = (await text(socket)).split("\r\n");
  const refusal = answers.find((line) => line.startsWith("-"));
  if (refusal !== undefined) throw new Error(refusal.slice(1));
  if (!answers.includes("+PONG")) throw new Error("it does not answer as Redis does");
}

function command(...words: string[]): string {
  const bulk = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return `*${words.length}\r\n${bulk.join("")}`;
}
