import { Client } from "pg";
import { expect, test } from "vitest";
import { describeWithServers } from "./available.ts";
import { leftoversOf } from "./leftovers.ts";
import { startPostgres } from "./postgres.ts";

describeWithServers(["postgres"], "the PostgreSQL of the tests", () => {
  test("keeps committed rows across SIGKILL, and leaves nothing behind", async () => {
    const server = await startPostgres({ settings: { max_connections: "20" } });
    const url = await server.createDatabase("kept");
    const before = new Client({ connectionString: url });
    before.on("error", () => undefined); // the kill below
    await before.connect();
    await before.query("create table t (v text); insert into t values ('committed')");

    await server.kill();
    await server.start();

    const after = new Client({ connectionString: url });
    await after.connect();
    expect((await after.query("select v from t")).rows).toEqual([{ v: "committed" }]);
    expect((await after.query("show max_connections")).rows).toEqual([{ max_connections: "20" }]);
    expect((await after.query("show fsync")).rows).toEqual([{ fsync: "on" }]);
    await after.end();
    expect(await leftoversOf(server)).toEqual([]);
  });
});
