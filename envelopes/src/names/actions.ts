/**
 * Every action that may travel, with its closed payload schema (contract section 6). The tables below read
 * like the contract's: canonical actions first, then what each service adds under Msgr's names.
 */
import { z } from "zod";
import { SERVICE } from "./grammar.ts";
import * as core from "../payloads/core.ts";
import * as events from "../payloads/events.ts";
import * as federation from "../payloads/federation.ts";
import * as link from "../payloads/link.ts";
import * as msgr from "../payloads/msgr.ts";
import * as out from "../payloads/outbound.ts";
import * as status from "../payloads/status.ts";
import * as sync from "../payloads/sync.ts";
import * as vault from "../payloads/vault.ts";
import { isReserved } from "./topics.ts";

/** `request` is asked by the core of a daemon; `core` is a request to the fabric itself, or a note of it. */
export type Direction = "to_daemon" | "to_core" | "request" | "core";
export type Capability = "send" | "admin" | "sync";

export interface ActionDef {
  readonly service: string;
  readonly name: string;
  /** The action whose handler serves it; equal to `name` unless it is Msgr's name. */
  readonly canonical: string;
  readonly direction: Direction;
  /** The capability that a ticket must grant. */
  readonly capability: Capability | undefined;
  readonly payload: z.ZodType;
  /** Schema of the answer; undefined on what is not a request. */
  readonly reply: z.ZodType | undefined;
  /** True where a daemon may also send it unasked. */
  readonly unasked: boolean;
}

type Row = Omit<ActionDef, "service">;

const toDaemon = (name: string, capability: Capability | undefined, payload: z.ZodType): Row => ({
  name,
  canonical: name,
  direction: "to_daemon",
  capability,
  payload,
  reply: undefined,
  unasked: false,
});
/** A daemon may answer an intent; most report by `delivery_status` instead. */
const toSay = (name: string, payload: z.ZodType): Row => ({
  ...toDaemon(name, "send", payload),
  reply: link.orError(out.OutboundReplySchema),
});
const toCore = (name: string, payload: z.ZodType): Row => ({
  ...toDaemon(name, undefined, payload),
  direction: "to_core",
});
const request = (name: string, payload: z.ZodType, reply: z.ZodType): Row => ({
  ...toDaemon(name, "admin", payload),
  direction: "request",
  reply: link.orError(reply),
});
const ofCore = (name: string, payload: z.ZodType, reply?: z.ZodType): Row => ({
  ...toDaemon(name, undefined, payload),
  direction: "core",
  reply: reply === undefined ? undefined : link.orError(reply),
});

const SAY: readonly Row[] = [
  toSay("outbound_message", out.OutboundMessageSchema),
  toSay("outbound_edit", out.OutboundEditSchema),
  toSay("outbound_delete", out.OutboundDeleteSchema),
  toSay("outbound_reaction", out.OutboundReactionSchema),
  toSay("outbound_typing", out.OutboundTypingSchema),
  toSay("outbound_read", out.OutboundReadSchema),
  toDaemon("join_channel", "admin", out.ChannelSchema),
  toDaemon("leave_channel", "admin", out.ChannelSchema),
  toDaemon("request_history", "sync", sync.RequestHistorySchema),
  toDaemon("refresh_roster", "sync", sync.RefreshRosterSchema),
];

const EVENTS: readonly Row[] = [
  toCore("inbound_event", events.InboundEventSchema),
  toCore("history_batch", events.HistoryBatchSchema),
  toCore("roster_snapshot", sync.RosterSnapshotSchema),
  toCore("sync_complete", sync.SyncCompleteSchema),
  toCore("checkpoint", status.CheckpointSchema),
  toDaemon("ack_event", undefined, sync.AckSchema),
];

const LINK: readonly Row[] = [
  request("link_account", link.LinkRequestSchema, link.LinkReplySchema),
  request("reauthenticate", link.LinkRequestSchema, link.LinkReplySchema),
  request("disconnect", link.DisconnectSchema, link.DisconnectedSchema),
  toCore("link_progress", link.LinkProgressSchema),
];

const RUN: readonly Row[] = [
  request("configure_bridge", link.ConfigureSchema, link.ConfiguredSchema),
  {
    ...request(
      "health_snapshot",
      z.union([link.HealthRequestSchema, status.HealthSchema]),
      status.HealthSchema,
    ),
    unasked: true,
  },
  toCore("delivery_status", status.DeliveryStatusSchema),
  toCore("delivery_statuses", status.DeliveryStatusesSchema),
  toCore("deferred", status.DeferredSchema),
  toCore("throttle", status.ThrottleSchema),
  toCore("bridge_state", status.BridgeStateSchema),
  toCore("capabilities", status.CapabilitiesSchema),
  toCore("health", status.HealthSchema),
];

const CHAT: readonly Row[] = [...SAY, ...EVENTS, ...LINK, ...RUN];

/** Msgr's names: [name, canonical action, payload]. A name that is canonical already takes both payloads. */
type Alias = readonly [name: string, canonical: string, payload: z.ZodType];

const MSGR = {
  telegram: [
    ["outbound_message", "outbound_message", msgr.TelegramMessage],
    ["outbound_edit_message", "outbound_edit", msgr.TelegramEdit],
    ["outbound_delete_message", "outbound_delete", msgr.TelegramDelete],
    ["ack_update", "ack_event", msgr.TelegramAck],
    ["link_account", "link_account", msgr.TelegramLink],
    ["inbound_update", "inbound_event", msgr.TelegramUpdate],
  ],
  matrix: [
    ["outbound_event", "outbound_message", msgr.MatrixEventOut],
    ["outbound_message", "outbound_message", msgr.MatrixMessage],
    ["ack_sync", "ack_event", msgr.MatrixAck],
    ["ack_update", "ack_event", msgr.MatrixAck],
    ["link_account", "link_account", msgr.MatrixLink],
    ["inbound_event", "inbound_event", msgr.MatrixEventIn],
  ],
  irc: [
    ["outbound_command", "outbound_message", msgr.IrcCommand],
    ["outbound_message", "outbound_message", msgr.IrcMessage],
    ["ack_offset", "ack_event", msgr.IrcAck],
    ["configure_identity", "link_account", msgr.IrcIdentity],
    ["inbound_message", "inbound_event", msgr.IrcInbound],
  ],
  xmpp: [
    ["outbound_stanza", "outbound_message", msgr.XmppStanza],
    ["ack_receipt", "ack_event", msgr.XmppAck],
    ["link_account", "link_account", msgr.XmppLink],
    ["inbound_stanza", "inbound_event", msgr.XmppInbound],
  ],
} as const satisfies Record<string, readonly Alias[]>;

const CHORUS: readonly Row[] = [
  toSay("outbound_message", out.OutboundMessageSchema),
  toSay("outbound_edit", out.OutboundEditSchema),
  toSay("outbound_delete", out.OutboundDeleteSchema),
  toSay("outbound_federation", federation.FederationSchema),
  ...EVENTS,
  ...LINK,
  ...RUN,
];

const CONDUCTOR: readonly Row[] = [
  request("submit_event", federation.ConductorEventSchema, federation.ConductorReceiptSchema),
  request("submit_events", federation.SubmitEventsSchema, federation.SubmitEventsReplySchema),
  request("get_day_proof", federation.DayProofRequestSchema, federation.DayProofSchema),
  ...RUN,
];

const CORE: readonly Row[] = [
  ofCore("hello", core.HelloRequestSchema, core.HelloReplySchema),
  ofCore("resume", core.ResumeRequestSchema, core.ResumeReplySchema),
  ofCore(
    "attempt",
    z.union([core.AttemptRequestSchema, core.AttemptBatchSchema]),
    z.union([core.AttemptReplySchema, core.AttemptAnswersSchema]),
  ),
  ofCore("submit_intent", core.SubmitIntentSchema, core.SubmitIntentReplySchema),
  ofCore("changed", core.ChangedSchema),
  ofCore("fanout", core.FanoutSchema),
];

const VAULT: readonly Row[] = [
  ofCore("checkout", vault.CheckoutRequestSchema, vault.CheckoutReplySchema),
  ofCore("renew", vault.RenewRequestSchema, vault.RenewReplySchema),
  ofCore("release", vault.ReleaseRequestSchema, vault.ReleaseReplySchema),
  ofCore("write_back", vault.WriteBackRequestSchema, vault.WriteBackReplySchema),
  ofCore("load_rows", vault.LoadRowsRequestSchema, vault.LoadRowsReplySchema),
  ofCore("commit_rows", vault.CommitRowsRequestSchema, vault.CommitRowsReplySchema),
];

const TABLE: Readonly<Record<string, readonly Row[]>> = {
  telegram: withAliases(CHAT, MSGR.telegram),
  matrix: withAliases(CHAT, MSGR.matrix),
  irc: withAliases(CHAT, MSGR.irc),
  xmpp: withAliases(CHAT, MSGR.xmpp),
  echo: withAliases(CHAT, Object.values(MSGR).flat().filter(isOutbound)),
  chorus: CHORUS,
  conductor: CONDUCTOR,
  core: CORE,
  vault: VAULT,
};

const REGISTRY: ReadonlyMap<string, ReadonlyMap<string, ActionDef>> = new Map(
  Object.entries(TABLE).map(([service, rows]) => [
    service,
    new Map(rows.map((row) => [row.name, { service, ...row }])),
  ]),
);

/** Actions of any other service: a connector may be for a platform that is unknown here. */
const CANONICAL: ReadonlyMap<string, Row> = new Map(CHAT.map((row) => [row.name, row]));

/** Every service that the contract names, in its order. */
export const SERVICES: readonly string[] = [...REGISTRY.keys()];

export function actionOf(service: string, name: string): ActionDef | undefined {
  const known = REGISTRY.get(service);
  if (known !== undefined) return known.get(name);
  const row = SERVICE.test(service) ? CANONICAL.get(name) : undefined;
  return row === undefined ? undefined : { service, ...row };
}

/** Empty for what is no name of a service. */
export function actionsOf(service: string): ActionDef[] {
  const known = REGISTRY.get(service);
  if (known !== undefined) return [...known.values()];
  return SERVICE.test(service) ? CHAT.map((row) => ({ service, ...row })) : [];
}

/** Whether a daemon may serve this: any service but the fabric's own. */
export function isConnector(service: string): boolean {
  return SERVICE.test(service) && !isReserved(service);
}

/** True for a platform's events, live or from history: no clock check ever refuses them. */
export function isEvent(action: ActionDef): boolean {
  return action.canonical === "inbound_event" || action.canonical === "history_batch";
}

function withAliases(rows: readonly Row[], aliases: readonly Alias[]): readonly Row[] {
  const named = new Map(rows.map((row) => [row.name, row]));
  for (const [name, canonical, payload] of aliases) {
    const known = named.get(name);
    const base = known ?? named.get(canonical);
    if (base === undefined) throw new TypeError(`${name} stands for ${canonical}, which is not served`);
    named.set(name, {
      ...base,
      name,
      payload: known === undefined ? payload : z.union([known.payload, payload]),
    });
  }
  return [...named.values()];
}

function isOutbound([name]: Alias): boolean {
  return name.startsWith("outbound_");
}
