/** `linkspan doctor` against servers that are there. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type RedisServer, startRedis } from "../servers/redis.ts";
import { linkspan, place } from "./linkspan.ts";

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
}

describeWithServers(["postgres", "redis"], "doctor", () => {
  let database: PostgresServer;
  let redis: RedisServer;

  beforeAll(async () => {
    [database, redis] = await Promise.all([startPostgres(), startRedis()]);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
  });

  async function findings(urls: Record<string, string>): Promise<Map<string, Finding>> {
    await using here = await place();
    const done = await linkspan(["doctor", "--json"], { env: { ...here.env, ...urls } });
    return new Map(
      done.lines.map((line) => JSON.parse(line) as Finding).map((finding) => [finding.check, finding]),
    );
  }

  test("finds them well", async () => {
    const found = await findings({ LINKSPAN_DATABASE_URL: database.url, LINKSPAN_REDIS_URL: redis.url });
    expect([...found.values()].filter(({ ok }) => !ok)).toEqual([]);
    expect(found.get("database")?.detail).toMatch(/^PostgreSQL \d+$/);
    expect(found.get("redis")?.detail).toContain("answers");
  });

  test("says what a server said that refused, without the password", async () => {
    const found = await findings({
      LINKSPAN_DATABASE_URL: database.url.replace(/\/postgres$/, "/absent"),
      LINKSPAN_REDIS_URL: redis.url.replace("redis://", "redis://nobody:hunter2@"),
    });
    expect(found.get("database")).toMatchObject({ ok: false });
    expect(found.get("database")?.detail).toContain("absent");
    expect(found.get("redis")).toMatchObject({ ok: false });
    expect(JSON.stringify([...found])).not.toContain("hunter2");
  });
});
