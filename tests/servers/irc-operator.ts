/**
 * An IRC operator that says a few lines and leaves. It connects from 127.0.0.2, so that a ban on
 * 127.0.0.1, where all other clients come from, does not take it along.
 */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

export interface OperatorLogin {
  readonly port: number;
  readonly name: string;
  readonly password: string;
}

export interface IrcBans {
  /**
   * Runs lines as an operator.
   *
   * @param last the answer that ends it; without, all lines have been carried out
   * @returns what the server said, up to and with `last`
   */
  operator(lines: readonly string[], last?: RegExp): Promise<string[]>;
  /** K-line: `mask` is `user@host` (`*@127.0.0.1` is every client); those online are thrown out too. */
  ban(mask: string, reason: string): Promise<void>;
  unban(mask: string): Promise<void>;
  /** KILL: throws one client out; it may come back. */
  eject(nick: string, reason: string): Promise<void>;
}

const TIMEOUT_MS = 15_000;

async function converse(
  socket: Socket,
  login: OperatorLogin,
  lines: readonly string[],
  last: RegExp | undefined,
): Promise<string[]> {
  const say = (line: string): void => void socket.write(`${line}\r\n`);
  const nick = `op${Math.floor(Math.random() * 1e6)}`;
  const answers: string[] = [];
  say(`NICK ${nick}`);
  say(`USER ${nick} 0 * :operator`);
  for await (const line of createInterface({ input: socket })) {
    const [, command = "", first = ""] = line.startsWith(":") ? line.split(" ") : ["", ...line.split(" ")];
    if (command === "PING") say(`PONG ${first}`);
    else if (command === "001") say(`OPER ${login.name} ${login.password}`);
    else if (command === "464" || command === "491") throw new Error(`OPER was refused: ${line}`);
    else if (command === "381") for (const wanted of [...lines, "PING :done"]) say(wanted);
    else if (command !== "PONG") answers.push(line);
    else if (last === undefined) return answers;
    if (last?.test(line)) return answers;
  }
  throw new Error(`the server hung up on its operator:\n${answers.join("\n")}`);
}

async function command(login: OperatorLogin, lines: readonly string[], last?: RegExp): Promise<string[]> {
  const socket = connect({ host: "127.0.0.1", port: login.port, localAddress: "127.0.0.2" });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("the server does not answer its operator")));
  try {
    return await converse(socket, login, lines, last);
  } finally {
    socket.destroy();
  }
}

export interface BanDialect {
  ban(mask: string, reason: string): readonly string[];
  unban(mask: string): readonly string[];
}

export function ircBans(login: OperatorLogin, dialect: BanDialect): IrcBans {
  const operator: IrcBans["operator"] = (lines, last) => command(login, lines, last);
  return {
    operator,
    ban: async (mask, reason) => void (await operator(dialect.ban(mask, reason))),
    unban: async (mask) => void (await operator(dialect.unban(mask))),
    eject: async (nick, reason) => void (await operator([`KILL ${nick} :${reason}`])),
  };
}

/** True when something that speaks IRC answers on the port; registers nobody. */
export function answersIrc(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(5_000, () => end(false));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
    socket.once("connect", () => socket.write("CAP LS\r\n"));
    const lines = createInterface({ input: socket });
    lines.once("error", () => end(false)); // it repeats the socket's
    lines.on("line", (line) => {
      if (line.split(" ")[1] === "CAP") end(true);
    });
  });
}
