import { describe } from "vitest";
import { busContract } from "../contract/bus-contract.ts";
import { embeddedHarness } from "../contract/embedded-harness.ts";

describe("the embedded bus keeps the bus contract:", () => {
  busContract(async () => embeddedHarness());
});
