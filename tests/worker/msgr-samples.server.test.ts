// Each recorded message of Msgr's SDKs becomes the event that it stands for, its bytes kept, on a development namespace.
import { readdirSync, readFileSync } from "node:fs";
import { parseTopic } from "@linkspan/envelopes";
import { readEvents } from "@linkspan/store";
import { expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld } from "./world.ts";

interface Sample {
  readonly name: string;
  readonly topic: string;
  readonly wire: string;
  readonly conversation: string;
}

const FOLDER = new URL("../../envelopes/fixtures/msgr/", import.meta.url);
const samples = readdirSync(FOLDER).flatMap((file) => {
  const { inbound } = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")) as { inbound: Sample[] };
  return inbound;
});

describeWithServers(["postgres"], "Msgr's SDKs", () => {
  test("are heard as they are, each message once", async () => {
    await using server = await startPostgres();
    const databaseUrl = await server.createDatabase("samples");
    await using world = await openWorld({ databaseUrl, signatures: "optional", daemons: false });
    await using bus = world.broker.connect("foreign");
    for (const { topic, wire, name } of [...samples, ...samples]) {
      // Their samples speak of the workspace `dev`, which the daemon names in its metadata.
      const body = Buffer.from(
        wire.replace(/"metadata": ?\{/, (found) => `${found}"workspace_id":"dev",`).replace(",}", "}"),
      );
      await bus.publish({
        body,
        route: { ...parseTopic(topic), partition: 0 },
        messageId: name.replaceAll(/\W/g, "_"),
      });
    }
    const read = () => readEvents(world.core.database.pool, { workspaceId: "dev", after: 0, limit: 100 });
    await until(async () => (await read()).length >= samples.length, { what: "an event of each" });
    expect((await read()).map((event) => event.conversation)).toEqual(
      samples.map(({ conversation }) => conversation),
    );
    expect((await world.core.database.query("SELECT code, detail FROM quarantine")).rows).toEqual([]);
  });
});
