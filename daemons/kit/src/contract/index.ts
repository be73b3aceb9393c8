/** The connector contract suite: `connectorContract("irc", setUp)` in a daemon's tests runs every case. */
import { describe, test } from "vitest";
import { CONNECTOR_CASES } from "./cases.ts";
import type { ConnectorFixture } from "./fixture.ts";

export { CONNECTOR_CASES, type ConnectorCase } from "./cases.ts";
export type { ConnectorFixture, ContractPeer } from "./fixture.ts";
export { RecordedRows } from "./recorded-rows.ts";
export { RecordingHost, until } from "./recording-host.ts";

/**
 * @param setUp creates a fresh platform, or an isolated part of one, for each case; it is disposed after the
 *   case
 */
export function connectorContract(
  name: string,
  setUp: () => Promise<ConnectorFixture>,
  timeoutMs = 30_000,
): void {
  describe(`${name}: connector contract`, () => {
    for (const each of CONNECTOR_CASES) {
      test(
        each.name,
        async () => {
          await using fixture = await setUp();
          await each.run(fixture);
        },
        timeoutMs,
      );
    }
  });
}
