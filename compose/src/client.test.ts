/** Against a server that answers like the API, and servers that answer differently. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CODES } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect, TOKEN_FILE, URL_FILE } from "./client.ts";
import { parseConfig } from "./config.ts";

let data: string;
let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let asked: IncomingMessage[];

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "linkspan-client-"));
  asked = [];
  server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writeFileSync(join(data, TOKEN_FILE), "lsp_owner\n");
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(data, { recursive: true });
});

const client = (env: Record<string, string> = {}) =>
  connect(parseConfig({ LINKSPAN_DATA: data, LINKSPAN_CORE_URL: url, ...env }, undefined));

const say = (status: number, body: string) => {
  answer = (_request, response) => response.writeHead(status).end(body);
};

test("it brings the owner's token, or the one configured, and the workspace that is asked about", async () => {
  say(200, "{}");
  await (await client()).get("/v1/events");
  await (await client({ LINKSPAN_TOKEN: "lsp_other", LINKSPAN_WORKSPACE: "acme" })).get("/v1/events");
  await (await client({ LINKSPAN_WORKSPACE: "*" })).get("/v1/events");
  expect(asked.map(({ headers }) => [headers.authorization, headers["x-linkspan-workspace"]])).toEqual([
    ["Bearer lsp_owner", undefined],
    ["Bearer lsp_other", "acme"],
    ["Bearer lsp_owner", undefined],
  ]);
});

test("it finds the address that a running one left beside its token", async () => {
  say(200, '{"a":1}');
  writeFileSync(join(data, URL_FILE), `${url}\n`);
  const found = await connect(parseConfig({ LINKSPAN_DATA: data }, undefined));
  expect(found.url).toBe(url);
  expect(await found.get("/")).toEqual({ a: 1 });
});

test("a problem becomes the error that it tells", async () => {
  say(409, JSON.stringify({ code: "intent.conflict", detail: "used for another", retry_after_ms: 5 }));
  await expect((await client()).send("POST", "/v1/intents", {})).rejects.toMatchObject({
    code: "intent.conflict",
    message: "used for another",
    retryAfterMs: 5,
  });
});

test("what another program answers is not taken for ours", async () => {
  for (const body of ["<html>", "{}", '{"code":"made.up"}', ""]) {
    say(404, body);
    await expect((await client()).get("/")).rejects.toMatchObject({ code: "internal" });
  }
});

test("no server and no token say what to do", async () => {
  const nobody = await client({ LINKSPAN_CORE_URL: "http://127.0.0.1:1" });
  await expect(nobody.get("/")).rejects.toMatchObject({ code: "bus.unavailable" });
  expect(CODES["bus.unavailable"].help, "what is shown beside it speaks of the API, too").toContain(
    "the API",
  );
  rmSync(join(data, TOKEN_FILE));
  await expect(client()).rejects.toMatchObject({ code: "request.unauthorized" });
});

test("a stream is asked to go on where it was, and ends when it is told to", async () => {
  answer = (_request, response) => void response.writeHead(200).write("id: 4\ndata: x\n\n");
  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { data: text } of (await client()).stream("/v1/events/stream", stop.signal, "3")) {
      seen.push(text);
      stop.abort();
    }
  })();
  await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  expect(seen).toEqual(["x"]);
  expect(asked[0]?.headers["last-event-id"]).toBe("3");
});
