/**
 * Credential fields of an identity, checked for what IRC's lines and TLS can carry before anything is connected.
 * A value that would be two lines, or no certificate at all, is refused by its name; values are not repeated.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import type { Settings } from "./config.ts";
import { isChannelName } from "./conversation.ts";
import { textBytes } from "./wire/line-bytes.ts";

/** Credential fields by name, as bytes, as `IdentityHost.secrets` gives them. */
export interface SecretFields {
  readonly names: readonly string[];
  get(name: string): Uint8Array | undefined;
}

/** Keys of channels are fields of their own: `channel_key:#name`, the name percent-encoded beyond ASCII. */
export const CHANNEL_KEY = "channel_key:";

const MAX_PASSWORD_BYTES = 400;
const MAX_KEY_BYTES = 100;
const LINE_END = /[\0\r\n]/;

/** @throws FabricError `request.invalid` with every fault, by field */
export function checkSecrets(secrets: SecretFields): void {
  const faults = [...secrets.names].flatMap((name) => {
    const value = textOf(secrets, name);
    const fault = value === undefined ? undefined : faultOf(name, value);
    return fault === undefined ? [] : [`${name}: ${fault}`];
  });
  faults.push(...halfOfPair(secrets));
  if (faults.length === 0) faults.push(...unmatched(secrets));
  refuse(faults);
}

/**
 * For a link: a login that is asked for and cannot be tried is refused, not skipped.
 *
 * @throws FabricError `request.invalid` naming the field that is missing
 */
export function checkLogin(secrets: SecretFields, settings: Settings): void {
  const { sasl, nickserv, tls } = settings;
  const has = (name: string) => textOf(secrets, name) !== undefined;
  const faults: string[] = [];
  if (sasl?.mechanism === "EXTERNAL") {
    if (!has("certificate")) faults.push("certificate: the login with a certificate needs it");
    if (tls === false) faults.push("tls: the login with a certificate needs it");
  } else if ((sasl !== undefined || nickserv !== undefined) && !has("password")) {
    faults.push("password: the login needs it");
  }
  const fault = sasl === undefined ? nickservFault(settings, textOf(secrets, "password")) : undefined;
  if (fault !== undefined) faults.push(`password: ${fault}`);
  refuse(faults);
}

/** The words of a login with the nickname service. */
export function identifying(
  { sasl, nickserv }: Pick<Settings, "sasl" | "nickserv">,
  password: string,
): string {
  const account = nickserv?.account ?? sasl?.account;
  return ["IDENTIFY", account, password].filter(Boolean).join(" ");
}

/** Why a password cannot be sent to the nickname service; undefined when it can. The server would cut a longer line. */
export function nickservFault(
  settings: Pick<Settings, "sasl" | "nickserv">,
  password: string | undefined,
): string | undefined {
  if (settings.nickserv === undefined || password === undefined) return undefined;
  const over =
    Buffer.byteLength(identifying(settings, password)) - textBytes("PRIVMSG", settings.nickserv.service);
  return over <= 0
    ? undefined
    : `with the account it is ${over} bytes too long for one line to ${settings.nickserv.service}`;
}

/** A field as text; undefined when there is none, or it is empty. */
export function textOf(secrets: SecretFields, name: string): string | undefined {
  const bytes = secrets.get(name);
  const text = bytes === undefined ? "" : new TextDecoder().decode(bytes);
  return text === "" ? undefined : text;
}

export function isChannelKey(key: string): boolean {
  return !/[\0-\x20,\x7F]|^:/.test(key) && key !== "" && Buffer.byteLength(key) <= MAX_KEY_BYTES;
}

/** The channel that a field is the key of; undefined for any other field. */
export function keyedChannel(name: string): string | undefined {
  if (!name.startsWith(CHANNEL_KEY)) return undefined;
  const encoded = name.slice(CHANNEL_KEY.length);
  try {
    return decodeURIComponent(encoded);
  } catch (error) {
    if (error instanceof URIError) return encoded;
    throw error;
  }
}

/** Names of fields are printable ASCII. */
export function keyFieldOf(channel: string): string {
  return CHANNEL_KEY + channel.replace(/[^!-$&-~]+/g, (part) => encodeURIComponent(part.toWellFormed()));
}

function faultOf(name: string, value: string): string | undefined {
  const channel = keyedChannel(name);
  if (channel !== undefined) {
    if (!isChannelName(channel)) return "it names no channel, such as #linkspan";
    return isChannelKey(value) ? undefined : "a key has 1 to 100 bytes without blanks, commas and controls";
  }
  switch (name) {
    case "password":
    case "server_password":
      if (LINE_END.test(value)) return "line ends and NUL are not allowed";
      return Buffer.byteLength(value) > MAX_PASSWORD_BYTES ? "it has more than 400 bytes" : undefined;
    case "certificate":
      return fails(() => new X509Certificate(value)) ? "it is no certificate in PEM" : undefined;
    case "certificate_key":
      return fails(() => createPrivateKey(value))
        ? "it is no private key in PEM, or it is encrypted"
        : undefined;
    default:
      return undefined;
  }
}

function halfOfPair(secrets: SecretFields): string[] {
  const has = (name: string) => textOf(secrets, name) !== undefined;
  if (has("certificate") === has("certificate_key")) return [];
  return has("certificate")
    ? ["certificate_key: the certificate needs it"]
    : ["certificate: the certificate_key is of no use without it"];
}

function refuse(faults: readonly string[]): void {
  if (faults.length === 0) return;
  throw new FabricError("request.invalid", `the credentials have faults: ${faults.join("; ")}`);
}

function unmatched(secrets: SecretFields): string[] {
  const [certificate, key] = [textOf(secrets, "certificate"), textOf(secrets, "certificate_key")];
  if (certificate === undefined || key === undefined) return [];
  return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
    ? []
    : ["certificate_key: it does not belong to the certificate"];
}

function fails(parse: () => unknown): boolean {
  try {
    parse();
    return false;
  } catch {
    return true;
  }
}
