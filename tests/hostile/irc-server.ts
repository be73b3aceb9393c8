/** An IRC server that a tenant runs: it lets clients in and then sends generated lines, floods, and silence. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Random } from "@linkspan/time";
import { below, hostileText, pick } from "./values.ts";

const COMMANDS = [
  "PRIVMSG",
  "NOTICE",
  "JOIN",
  "PART",
  "KICK",
  "NICK",
  "QUIT",
  "MODE",
  "TOPIC",
  "PING",
  "CAP",
  "AUTHENTICATE",
  "BATCH",
  "TAGMSG",
  "FAIL",
  "ERROR",
] as const;

export interface HostileIrcServer extends AsyncDisposable {
  readonly port: number;
  readonly connections: number;
}

export async function startHostileIrcServer(random: Random): Promise<HostileIrcServer> {
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.setEncoding("latin1");
    let nick = "x";
    const send = (text: string | Buffer): void => {
      if (!socket.destroyed) socket.write(text);
    };
    const timer = setInterval(() => send(hostileLine(random, nick)), 20);
    socket.once("close", () => clearInterval(timer));
    socket.on("data", (text: string) => {
      const named = /^NICK :?(\S+)/m.exec(text)?.[1];
      if (named === undefined) return;
      nick = named;
      if (random() < 0.1) return; // never lets it in
      send(`:evil 001 ${nick} :hi\r\n:evil 005 ${nick} ${hostileText(random).slice(0, 400)} :are\r\n`);
      send(`:evil 376 ${nick} :end\r\n:${nick}!u@h JOIN #a\r\n:evil 353 ${nick} = #a :${nick}\r\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function hostileLine(random: Random, nick: string): string | Buffer {
  const word = () => hostileText(random).slice(0, pick(random, [10, 600, 20_000]));
  const chance = random();
  if (chance < 0.02) return Buffer.from(Array.from({ length: 3_000 }, () => below(random, 256)));
  if (chance < 0.03) return "x".repeat(200_000);
  if (chance < 0.04) return `:a!b@c PRIVMSG #a :${word()}\r\n`.repeat(200);
  const source = pick(random, ["", ":", `:${nick}!u@h `, ":a!b@c ", ":evil ", `:${word()} `]);
  const tags = random() < 0.2 ? `@${word().replaceAll(" ", "")} ` : "";
  const command =
    random() < 0.3 ? String(below(random, 1_000)).padStart(3, "0") : pick(random, [...COMMANDS, word()]);
  const args = Array.from({ length: below(random, 5) }, () => pick(random, [nick, "#a", "*", word()])).join(
    " ",
  );
  return `${tags}${source}${command} ${args} :${word()}\r\n`;
}
