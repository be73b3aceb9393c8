/**
 * What a fresh RabbitMQ is told: the namespace's vhost, and one user per program with no more rights than it
 * needs. Exchanges and queues are not here: the core declares the exchange and the dead letters, and each program
 * its own queues. A daemon may not declare, and so not delete, what is everybody's; it makes sure of it passively.
 *
 * The vhost is the boundary between tenants that must not trust each other. Within it, resource permissions
 * keep a daemon to its own queues and topic permissions to its own routing keys. Every pattern is anchored at
 * both ends: RabbitMQ searches, so `irc` alone would match `irc2`. Nobody may write to the
 * default exchange, which would reach any queue by its name.
 *
 * Dead letters have one key per reporter, `bridge.dead.<service>.<instance|_>`, and each user may write its own
 * only. What reaches the dead letters by another key (a CC or BCC header before RabbitMQ 4) shows that key, and
 * is not believed.
 */
import { createHash, randomBytes } from "node:crypto";
import { actionsOf, PRIMARY } from "@linkspan/envelopes";

export interface Participant {
  readonly user: string;
  readonly password: string;
  /** The core, the one instance that a daemon's user may be, or a backend. */
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
  /** Routing keys on the exchange `bridge`: published with, bound by. */
  readonly publishes: string;
  readonly binds: string;
}

export const EXCHANGE = "bridge";

/** A definitions file, as `load_definitions` and `rabbitmqctl import_definitions` read it. */
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

/** It speaks to every daemon and hears all of them; its own queues are the only ones that it reads. */
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

/** It publishes what daemons tell the core, as its own instance only, and asks the core and the vault. */
function daemonRights({ service, instance }: Daemon): Rights {
  const shard = instance === PRIMARY ? "_" : instance;
  const tells = actionsOf(service)
    .filter(({ direction, unasked }) => direction === "to_core" || unasked)
    .map(({ name }) => name);
  const own = [`${service}\\.${instance}\\..+`, `reply\\.${service}\\.${shard}\\..+`];
  return {
    configure: oneOf(...own),
    // To bind a queue is to write to it and to read from the exchange.
    write: oneOf("bridge", ...own),
    read: oneOf("bridge", ...own),
    publishes: oneOf(
      `${service}\\.${shard}\\.(${tells.join("|")})\\.${PARTITION}`,
      "core\\._\\.(hello|resume|attempt)\\.p00",
      "vault\\._\\.(checkout|renew|release|write_back)\\.p00",
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

/** It submits intents, and hears the answers to them. */
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

/** RabbitMQ's form: base64 of a four-byte salt and the SHA-256 of salt and password. */
function passwordHash(password: string): string {
  const salt = randomBytes(4);
  const hash = createHash("sha256").update(salt).update(password, "utf8").digest();
  return Buffer.concat([salt, hash]).toString("base64");
}
