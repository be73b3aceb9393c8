import { expect, test } from "vitest";
import { splitServers } from "./netsplits.ts";

test.each([
  ["hub.example.net leaf.example.org", ["hub.example.net", "leaf.example.org"]],
  ["*.net *.split", ["*.net", "*.split"]],
] as const)("%j is a split", (reason, servers) => {
  expect(splitServers(reason)).toEqual(servers);
});

test.each([
  "",
  "good night",
  "Quit: hub.example.net leaf.example.org",
  "hub.example.net hub.example.net",
  "hub.example.net",
  "see example.com",
  "hub.example.net leaf.example.org bye",
  "1.2.3.4 5.6.7.8",
])("%j is none", (reason) => {
  expect(splitServers(reason)).toBeUndefined();
});
