/** `msgr://` references (contract section 6): one thing has one spelling. */
import { FabricError } from "../errors/errors.ts";
import { SERVICE, WORKSPACE } from "./grammar.ts";

export type Ref =
  | {
      readonly kind: "channel";
      readonly workspace: string;
      readonly service: string;
      readonly remote: readonly string[];
    }
  | { readonly kind: "identity"; readonly service: string; readonly remote: readonly string[] }
  | { readonly kind: "message"; readonly service: string; readonly channel: string; readonly id: string }
  | {
      readonly kind: "configuration";
      readonly service: string;
      readonly workspace: string;
      readonly remote: readonly string[];
    };

/**
 * One percent-encoded segment: unreserved characters bare, the rest as `%XX` in upper case, no NUL. That bytes
 * beyond ASCII form UTF-8 is not checked by it.
 */
const SEGMENT = String.raw`(?:[A-Za-z0-9._~-]|%(?:0[1-9A-F]|1[0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF]|[89A-F][0-9A-F]))+`;
const BEYOND_ASCII = /%[89A-F]/;
const NOT_UNRESERVED_BUT_LEFT = /[!'()*]/g;

/** A channel ref by shape; `msgr://channels/` has 16 characters. */
export const CHANNEL_REF = new RegExp(
  `^msgr://channels/[A-Za-z0-9_-]{1,64}/bridge/[a-z][a-z0-9_]{0,31}(?:/${SEGMENT})+$`,
);
export const IDENTITY_REF = new RegExp(`^msgr://identity/bridges/[a-z][a-z0-9_]{0,31}(?:/${SEGMENT})+$`);

/** @throws FabricError `envelope.schema` */
export function channelRef(workspace: string, service: string, remote: readonly string[]): string {
  return `msgr://channels/${workspaceOf(workspace)}/bridge/${serviceOf(service)}/${encode(remote)}`;
}

/** @throws FabricError `envelope.schema` */
export function identityRef(service: string, remote: readonly string[]): string {
  return `msgr://identity/bridges/${serviceOf(service)}/${encode(remote)}`;
}

/** @throws FabricError `envelope.schema` */
export function messageRef(service: string, channel: string, id: string): string {
  return `msgr://messages/${serviceOf(service)}/${encode([channel, id])}`;
}

/** @throws FabricError `envelope.schema` */
export function configurationRef(service: string, workspace: string, remote: readonly string[]): string {
  return `msgr://bridges/${serviceOf(service)}/${workspaceOf(workspace)}/${encode(remote)}`;
}

/** @throws FabricError `envelope.schema` for anything but the one spelling of a reference */
export function parseRef(text: string): Ref {
  if (!text.startsWith("msgr://")) throw refuse("it does not start with msgr://");
  const [root, a = "", b = "", c = "", ...rest] = text.slice(7).split("/");
  const ref = read(root, a, b, c, rest);
  if (ref === undefined) throw refuse("it is no channel, identity, message or configuration");
  if (format(ref) !== text) throw refuse("it is not in its one spelling");
  return ref;
}

/**
 * Whether a text that matches {@link CHANNEL_REF} is a channel of this workspace and, if given, service.
 *
 * @throws FabricError `envelope.schema` when it is not in its one spelling
 */
export function isChannelOf(ref: string, workspace: string, service: string | undefined): boolean {
  if (BEYOND_ASCII.test(ref)) parseRef(ref);
  const rest = 16 + workspace.length;
  if (!ref.startsWith(workspace, 16) || !ref.startsWith("/bridge/", rest)) return false;
  return (
    service === undefined || (ref.startsWith(service, rest + 8) && ref[rest + 8 + service.length] === "/")
  );
}

/** @throws FabricError `envelope.schema` */
export function formatRef(ref: Ref): string {
  return format(ref);
}

function read(
  root: string | undefined,
  a: string,
  b: string,
  c: string,
  rest: readonly string[],
): Ref | undefined {
  if (root === "channels" && b === "bridge") {
    return { kind: "channel", workspace: a, service: c, remote: rest.map(decode) };
  }
  if (root === "identity" && a === "bridges") {
    return { kind: "identity", service: b, remote: [c, ...rest].map(decode) };
  }
  if (root === "messages" && rest.length === 0) {
    return { kind: "message", service: a, channel: decode(b), id: decode(c) };
  }
  if (root === "bridges") {
    return { kind: "configuration", service: a, workspace: b, remote: [c, ...rest].map(decode) };
  }
  return undefined;
}

function format(ref: Ref): string {
  switch (ref.kind) {
    case "channel":
      return channelRef(ref.workspace, ref.service, ref.remote);
    case "identity":
      return identityRef(ref.service, ref.remote);
    case "message":
      return messageRef(ref.service, ref.channel, ref.id);
    case "configuration":
      return configurationRef(ref.service, ref.workspace, ref.remote);
  }
}

function encode(segments: readonly string[]): string {
  if (segments.length === 0) throw refuse("it names nothing");
  return segments.map(encodeSegment).join("/");
}

/** One segment of a reference. @throws FabricError `envelope.schema` */
export function encodeSegment(segment: string): string {
  if (segment === "") throw refuse("a segment is empty");
  if (segment.includes("\0") || !segment.isWellFormed())
    throw refuse("a segment holds NUL or a lone surrogate");
  return encodeURIComponent(segment).replace(
    NOT_UNRESERVED_BUT_LEFT,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new FabricError("envelope.schema", "not a reference: a segment is not percent-encoded UTF-8", {
      cause,
    });
  }
}

function serviceOf(service: string): string {
  if (!SERVICE.test(service)) throw refuse("its service is malformed");
  return service;
}

function workspaceOf(workspace: string): string {
  if (!WORKSPACE.test(workspace)) throw refuse("its workspace is malformed");
  return workspace;
}

function refuse(why: string): FabricError {
  return new FabricError("envelope.schema", `not a reference: ${why}`);
}
