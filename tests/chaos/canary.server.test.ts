/** A secret goes in; afterwards it is looked for everywhere it must not be. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { startEmbedded } from "./fabric.ts";

const SECRET = `canary-${randomBytes(24).toString("hex")}`;
/** As it would look in a file, a log line, a dump or an envelope. */
const DISGUISES = [
  Buffer.from(SECRET),
  Buffer.from(Buffer.from(SECRET).toString("base64").slice(0, 60)),
  Buffer.from(Buffer.from(SECRET).toString("base64url").slice(0, 60)),
  Buffer.from(Buffer.from(SECRET).toString("hex")),
];

interface Session {
  readonly data: { readonly id: string; readonly state: string; readonly metadata: unknown };
}

test("no log, no row, no file and no answer shows a password", { timeout: 120_000 }, async () => {
  await using fabric = await startEmbedded("core,api,echo");
  const { client, data } = fabric;
  const opened = await client.send<Session>("POST", "/api/bridges/echo/sessions", { user_id: "u" });
  const path = `/api/bridges/echo/sessions/${opened.data.id}/credentials`;
  const answers: unknown[] = [opened];
  answers.push(await client.send("POST", path, { credentials: { name: "me", password: SECRET } }));
  const session = () => client.get<Session>(`/api/bridges/sessions/${opened.data.id}`);
  await until(async () => (await session()).data.state === "linked", { what: "the account to be linked" });
  const identities = () =>
    client.get<{ identities: { id: string; bridge_state: string }[] }>("/v1/identities");
  const [identity] = await until(
    async () => {
      const { identities: all } = await identities();
      return all.some((one) => one.bridge_state === "connected") ? all : undefined;
    },
    { what: "the account to be connected" },
  );
  const intent = {
    identity_id: identity?.id,
    payload: { text: "hello" },
    conversation: "msgr://channels/default/bridge/echo/room",
  };
  answers.push(await client.send("POST", "/v1/intents", intent, { "idempotency-key": "canary" }));
  await until(
    async () => (await client.get<{ events: unknown[] }>("/v1/events?cursor=0")).events.length > 0,
    { what: "the echo" },
  );
  for (const url of ["/v1/events?cursor=0", "/v1/identities", "/v1/audit", "/v1/intents", "/v1/quarantine"]) {
    answers.push(await client.get(url));
  }
  answers.push(await session());
  // A second session of the same user fails with the wrong password; its error must not repeat it either.
  const again = await client.send<Session>("POST", "/api/bridges/echo/sessions", { user_id: "u" });
  const undeclared = { credentials: { auth: { password: SECRET }, passphrase: SECRET } };
  const againPath = `/api/bridges/echo/sessions/${again.data.id}/credentials`;
  await client.send("POST", againPath, undeclared).then(
    () => expect.unreachable("a field that was not declared was taken"),
    (error: unknown) => answers.push(String(error)),
  );
  const wrong = { credentials: { password: "wrong" } };
  answers.push(await client.send("POST", againPath, wrong));
  const failed = () => client.get<Session>(`/api/bridges/sessions/${again.data.id}`);
  await until(async () => (await failed()).data.state === "failed", {
    what: "the wrong password to be refused",
  });
  expect(await fabric.core.stop()).toBe(0);

  expect(JSON.stringify(answers)).not.toContain(SECRET);
  const files = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(100);
  const holding = (needles: readonly Buffer[]) =>
    files
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => needles.some((needle) => readFileSync(path).includes(needle)));
  expect(
    holding([Buffer.from(identity?.id ?? "")]).length,
    "what is no secret is found by the same search",
  ).toBeGreaterThan(1);
  expect(holding(DISGUISES)).toEqual([]);
});
