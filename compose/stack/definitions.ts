/**
 * The definitions for a new RabbitMQ: the namespace's vhost, and one user per program with only the rights
 * that it needs. Exchanges and queues are not here: the core declares the exchange and the dead-letter queue,
 * and each program its own queues. A daemon may not declare, and so not delete, shared objects; it checks
 * passively that they exist.
 *
 * The vhost is the boundary between tenants that must not trust each other. Within it, resource permissions
 * restrict a daemon to its own queues and topic permissions to its own routing keys. Every pattern is
 * anchored at both ends: RabbitMQ searches, so `irc` alone would match `irc2`. Nobody may write to the
 * default exchange, which would reach any queue by its name.
 *
 * Dead letters have one key per reporter, `bridge.dead.<service>.<instance|_>`, and each user may write only
 * with its own. A message that reaches the dead-letter queue by another key (a CC or BCC header before
 * RabbitMQ 4) has that key, and its reporter is not trusted.
 */
import { createHash, randomBytes } from "node:crypto";
import { actionsOf, PRIMARY } from "@linkspan/envelopes";

export interface Participant {
  readonly user: string;
  readonly password: string;
  /** The core, the single instance of a daemon's user, or a backend. */
  readonly role: { readonly kind: "core" } | Daemon | Backend;
}

export interface Daemon {
  readonly kind: "daemon";
  readonly service: string;
  readonly instance: string;
}

export interface Backend {
  readonly kind: "backend";
  /** As in `backend:<name>`. */
  readonly name: string;
}

interface Rights {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
  /** Routing keys on the exchange `bridge`: for publishing and for binding. */
  readonly publishes: string;
  readonly binds: string;
}

export const EXCHANGE = "bridge";

/** A definitions file, in the format of `load_definitions` and `rabbitmqctl import_definitions`. */
export function definitions(vhost: string, participants: readonly Participant[]) {
  const each = participants.map(({ user, role }) => ({ user, vhost, rights: rightsOf(role) }));
  return {
    vhosts: [{ name: vhost }],
    users: participants.map(({ user, password }) => ({
      name: user,
      password_hash: passwordHash(password),
      hashing_algorithm: "rabbit_password_hashing_sha256",
      tags: "",
    })),
    permissions: each.map(({ rights, ...of }) => ({
      ...of,
      configure: rights.configure,
      write: rights.write,
      read: rights.read,
    })),
    topic_permissions: each.map(({ rights, ...of }) => ({
      ...of,
      exchange: EXCHANGE,
      write: rights.publishes,
      read: rights.binds,
    })),
  };
}

export function rightsOf(role: Participant["role"]): Rights {
  if (role.kind === "core") return coreRights();
  return role.kind === "daemon" ? daemonRights(role) : backendRights(role);
}

const PARTITION = "p[0-9]{2}";
const BOOT = "[A-Za-z0-9_-]+";

/** It publishes to every daemon and receives from all of them; it reads only its own queues. */
function coreRights(): Rights {
  const own = oneOf("bridge", "bridge\\.(dead|replay)", "core\\..+", "vault\\..+", "reply\\.core\\._\\..+");
  const route = `[a-z][a-z0-9_]*\\.(_|[a-z0-9][a-z0-9_-]*)\\.[a-z][a-z0-9_]*\\.${PARTITION}`;
  const reply = `reply\\.[a-z][a-z0-9_]*\\.(_|[a-z0-9][a-z0-9_-]*)\\.${BOOT}`;
  return {
    configure: own,
    write: own,
    read: own,
    publishes: oneOf(route, reply, "bridge\\.dead\\.core\\._"),
    binds: oneOf(
      `(\\*|core|vault)\\.\\*\\.(\\*|[a-z][a-z0-9_]*)\\.(${PARTITION}|\\*)`,
      `reply\\.core\\._\\.${BOOT}`,
      "bridge\\.dead(\\.\\*\\.\\*)?",
    ),
  };
}

/**
 * It publishes a daemon's messages to the core, only as its own instance, and sends requests to the core and
 * the vault.
 */
function daemonRights({ service, instance }: Daemon): Rights {
  const shard = instance === PRIMARY ? "_" : instance;
  const tells = actionsOf(service)
    .filter(({ direction, unasked }) => direction === "to_core" || unasked)
    .map(({ name }) => name);
  const asks = actionsOf("vault").map(({ name }) => name);
  const own = [`${service}\\.${instance}\\..+`, `reply\\.${service}\\.${shard}\\..+`];
  return {
    configure: oneOf(...own),
    // Binding a queue requires the rights to write to it and to read from the exchange.
    write: oneOf("bridge", ...own),
    read: oneOf("bridge", ...own),
    publishes: oneOf(
      `${service}\\.${shard}\\.(${tells.join("|")})\\.${PARTITION}`,
      "core\\._\\.(hello|resume|attempt)\\.p00",
      `vault\\._\\.(${asks.join("|")})\\.p00`,
      `reply\\.core\\._\\.${BOOT}`,
      `bridge\\.dead\\.${service}\\.${shard}`,
    ),
    binds: oneOf(
      `${service}\\.${shard}\\.[a-z][a-z0-9_]*\\.(${PARTITION}|\\*)`,
      "core\\.\\*\\.changed\\.\\*",
      `reply\\.${service}\\.${shard}\\.${BOOT}`,
    ),
  };
}

/** It submits intents, and receives the answers to them. */
function backendRights({ name }: Backend): Rights {
  const own = `reply\\.backend\\.${name}\\..+`;
  return {
    configure: oneOf(own),
    write: oneOf("bridge", own),
    read: oneOf("bridge", own),
    publishes: oneOf("core\\._\\.submit_intent\\.p00"),
    binds: oneOf(`reply\\.backend\\.${name}\\.${BOOT}`),
  };
}

function oneOf(...patterns: string[]): string {
  return `^(${patterns.join("|")})$`;
}

/** RabbitMQ's format: base64 of a four-byte salt and the SHA-256 of salt and password. */
function passwordHash(password: string): string {
  const salt = randomBytes(4);
  const hash = createHash("sha256").update(salt).update(password, "utf8").digest();
  return Buffer.concat([salt, hash]).toString("base64");
}
