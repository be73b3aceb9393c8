import { connect } from "node:net";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { startAtheme } from "./atheme.ts";
import { describeWithServers } from "./available.ts";
import { IrcClient } from "./irc-client.ts";
import { leftoversOf } from "./leftovers.ts";
import { until } from "./until.ts";

describeWithServers(["inspircd", "atheme"], "the services of the tests", () => {
  test("register, log in by SASL, go and come back, and leave nothing", async () => {
    const network = await startAtheme();
    const { irc, services } = network;
    await network.register("alice", "correct-horse");
    const login = (password: string) => sasl(irc.port, `alice\0alice\0${password}`);
    expect(await login("correct-horse")).toBe("900");
    expect(await login("wrong")).toBe("904");

    await services.stop();
    using client = await IrcClient.connect({ port: irc.port, nick: "bob" });
    const offers = async (): Promise<boolean> => {
      client.lines.length = 0;
      client.say("CAP LS 302");
      return /\bsasl\b/.test(await client.expect(/ CAP \S+ LS /));
    };
    await until(async () => !(await offers()), { what: "SASL to be gone" });
    await services.start();
    expect(await offers()).toBe(true);
    expect(await login("correct-horse")).toBe("900");
    expect([...(await leftoversOf(services)), ...(await leftoversOf(irc))]).toEqual([]);
  });
});

/** SASL PLAIN before registration. @returns the numeric that answers it */
async function sasl(port: number, credentials: string): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  const say = (line: string): void => void socket.write(`${line}\r\n`);
  socket.setTimeout(15_000, () => socket.destroy(new Error("no answer to SASL")));
  for (const line of ["CAP REQ :sasl", "NICK visitor", "USER v 0 * :v", "AUTHENTICATE PLAIN"]) say(line);
  try {
    for await (const line of createInterface({ input: socket })) {
      if (/^AUTHENTICATE :?\+$/.test(line))
        say(`AUTHENTICATE ${Buffer.from(credentials).toString("base64")}`);
      const [, numeric] = / (90[0-8]) /.exec(line) ?? [];
      if (numeric !== undefined) return numeric;
    }
    return "closed";
  } finally {
    socket.destroy();
  }
}
