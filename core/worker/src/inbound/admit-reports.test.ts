/** Of many reports in one envelope only those that are wrong are refused, also when nobody signed them. */
import { actionOf, type Envelope, type Opened } from "@linkspan/envelopes";
import type { Identity, IntentOwner } from "@linkspan/store";
import { expect, test } from "vitest";
import { refusedReports, wrongPartition } from "./admit-reports.ts";

const identity = (id: string, over: Partial<Identity> = {}): [string, Identity] => [
  id,
  {
    id,
    workspace_id: "acme",
    user_id: "ada",
    service: "irc",
    instance: "primary",
    state: "linked",
    ...over,
  } as Identity,
];
const owner = (id: string, identityId: string): [string, IntentOwner] => [
  id,
  { id, workspace_id: "acme", identity_id: identityId, service: "irc" },
];
const facts = {
  identities: new Map([
    identity("alice"),
    identity("unlinked", { state: "unlinked" }),
    identity("zoe", { instance: "second" }),
    identity("rita", { workspace_id: "rival" }),
    identity("bob", { user_id: "bert" }),
  ]),
  owners: new Map([owner("i-alice", "alice"), owner("i-bob", "bob")]),
};

function statuses(
  members: readonly { readonly of: string; readonly intent: string }[],
  { kid, ...metadata }: { readonly kid?: string; readonly user_id?: string; readonly identity_id?: string },
): Opened {
  const action = actionOf("irc", "delivery_statuses");
  if (action === undefined) throw new Error("irc reports many statuses");
  const envelope = {
    service: "irc",
    action: action.name,
    occurred_at: "2026-01-01T00:00:00.000Z",
    metadata: {
      issuer: "daemon:irc:primary",
      workspace_id: "acme",
      instance: "primary",
      message_id: "m",
      epoch: 1,
      ...metadata,
    },
    payload: {
      statuses: members.map(({ of, intent }, n) => ({
        intent_id: intent,
        attempt: 1,
        part: 0,
        parts: 1,
        status: "sent",
        at: "2026-01-01T00:00:00.000Z",
        message_id: `m${n}`,
        identity_id: of,
      })),
    },
  } as unknown as Envelope;
  return { envelope, body: new Uint8Array(), kid, action };
}

const members = [
  { of: "alice", intent: "i-alice" },
  { of: "zoe", intent: "i-1" },
  { of: "unlinked", intent: "i-2" },
  { of: "rita", intent: "i-3" },
  { of: "alice", intent: "i-bob" },
  { of: "nobody", intent: "i-4" },
  { of: "bob", intent: "i-bob" },
];

test("a signed report of another instance's, another workspace's or no account, or on another's intent, is refused alone", () => {
  const refused = refusedReports(statuses(members, { kid: "k" }), facts);
  expect([...refused].map(([at, { code }]) => [at, code])).toEqual([
    [1, "envelope.wrong_issuer"],
    [3, "envelope.wrong_issuer"],
    [4, "envelope.wrong_issuer"],
    [5, "envelope.wrong_issuer"],
  ]);
});

test("of unsigned reports every account is checked, not only the one that the envelope names", () => {
  const refused = refusedReports(statuses(members, { identity_id: "alice" }), facts);
  expect([...refused.keys()]).toEqual([1, 3]);
  expect([...refusedReports(statuses(members, { user_id: "ada" }), facts).keys()]).toEqual([1, 3, 6]);
});

test("the identity that chooses the partition is that of a member", () => {
  expect(wrongPartition(statuses(members, { kid: "k", identity_id: "bob" }))).toBeUndefined();
  expect(wrongPartition(statuses(members, { kid: "k" }))).toBeUndefined();
  expect(wrongPartition(statuses(members, { kid: "k", identity_id: "eve" }))?.code).toBe("envelope.schema");
});
