/**
 * Records what real servers send to a client, for the mapping's fixtures: `node tests/peers/irc/record-fixtures.ts`.
 * Nothing in it is anybody's: the names are made up and the server's times are replaced.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startInspircd } from "../../servers/inspircd.ts";
import { startNgircd } from "../../servers/ngircd.ts";
import { IrcPeer } from "./peer.ts";

const FIXTURES = join(import.meta.dirname, "../../../daemons/irc/fixtures");
const CAPS = ["message-tags", "server-time", "echo-message", "labeled-response", "batch", "account-tag"];

async function record(
  port: number,
  capabilities: readonly string[],
  history: () => Promise<void>,
): Promise<string[]> {
  await using alice = await IrcPeer.connect({ port, nick: "alice", capabilities });
  await using bob = await IrcPeer.connect({ port, nick: "Bob[1]" });
  await bob.join("#Room");
  await history();
  await bob.say("#Room", "said before alice came");
  await bob.settled();
  await alice.join("#Room");
  await bob.say(
    "#Room",
    "plain",
    "\x02bold\x02 and \x1Ditalic \x1Funder\x0F none \x0304,04hidden\x03",
    ":colon first",
  );
  bob.write(
    "PRIVMSG #Room :\x01ACTION waves\x01",
    "PRIVMSG alice :\x01VERSION\x01",
    "NOTICE #Room :a notice",
  );
  await bob.say("alice", "just between us");
  await bob.settled();
  const label = capabilities.length > 0 ? "@label=first " : "";
  alice.write(
    `${label}PRIVMSG #Room :my own`,
    `${label}PRIVMSG nobody :are you there?`,
    "PRIVMSG alice :to myself",
  );
  bob.write("TOPIC #Room :all about \x02that\x02", "NICK Robert");
  await bob.settled();
  await alice.settled();
  bob.write("PART #Room :back soon", "JOIN #Room");
  await bob.settled();
  bob.write("QUIT :gone");
  await alice.expect(({ command }) => command === "QUIT");
  return alice.lines.map(({ raw }) => raw);
}

/** The same in every recording: times, and what names the process. */
function steady(lines: readonly string[]): string {
  let second = 0;
  return lines
    .filter((line) => !/ (?:00[2-4]|25\d|26\d|37\d|422) /.test(line))
    .map((line) => {
      second += 1;
      const time = `2026-11-20T11:34:${String(second % 60).padStart(2, "0")}.123Z`;
      return line.replace(/time=[^; ]+/, `time=${time}`).replace(/~\d{10}~/, "~1700000000~");
    })
    .concat("")
    .join("\n");
}

{
  await using server = await startInspircd({ config: '<module name="samode">' });
  const lines = await record(server.port, CAPS, async () => {
    await server.operator(["SAMODE #Room +o Bob[1]", "SAMODE #Room +H 10:1h"]);
  });
  writeFileSync(join(FIXTURES, "inspircd.txt"), steady(lines));
}
{
  await using server = await startNgircd();
  const lines = await record(server.port, [], () => Promise.resolve());
  writeFileSync(join(FIXTURES, "ngircd.txt"), steady(lines));
}
