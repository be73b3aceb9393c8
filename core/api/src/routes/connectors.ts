/** Switches a connector off and on, and records the actor and the reason. */
import { isConnector } from "@linkspan/envelopes";
import { explainFlags } from "@linkspan/store";
import { ALL_WORKSPACES, type Core, switchConnector } from "@linkspan/worker";
import { z } from "zod";
import { type Caller, callerOf, requireUnbound } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, Name, Written } from "../schemas.ts";

const tags = ["connectors"];
const params = z.object({
  service: z
    .string()
    .refine((name) => name === "*" || isConnector(name), "not the name of a service")
    .meta({ description: "a service; * for every one, with a token for all workspaces" }),
});

const Switch = z
  .object({
    service: z.string(),
    enabled: z.boolean().meta({ description: "what holds in the end" }),
    flags: z
      .array(
        z.object({
          workspace_id: z.string().meta({ description: "* for all" }),
          service: z.string(),
          enabled: z.boolean(),
          who: z.string(),
          why: z.string(),
          changed_at: Written,
        }),
      )
      .meta({ description: "the settings that decide; if one is off, the connector is off" }),
  })
  .meta({ id: "ConnectorSwitch" });

export const connectors: Routes = (app, { core }) => {
  app.get(
    "/v1/connectors/:service",
    {
      schema: {
        operationId: "readConnector",
        tags,
        summary: "Whether a connector is on, and who decided so",
        params,
        response: answers({ 200: Switch }),
      },
    },
    (request) => explain(core, callerOf(request), request.params.service),
  );

  app.put(
    "/v1/connectors/:service",
    {
      schema: {
        operationId: "switchConnector",
        tags,
        summary: "Switch a connector for the workspace; with a token for all workspaces, for all",
        params,
        body: z.strictObject({ enabled: z.boolean(), why: Name }),
        response: answers({ 200: Switch }),
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { service } = request.params;
      const { enabled, why } = request.body;
      if (service === "*") requireUnbound(caller);
      const workspace_id = service === "*" ? ALL_WORKSPACES : scopeOf(caller);
      await switchConnector(core, { workspace_id, service, enabled, who: caller.actor, why });
      return explain(core, caller, service);
    },
  );
};

function scopeOf(caller: Caller): string {
  return caller.everywhere ? ALL_WORKSPACES : caller.workspaceId;
}

async function explain(core: Core, caller: Caller, service: string): Promise<z.output<typeof Switch>> {
  const flags = await explainFlags(core.database.pool, scopeOf(caller), service);
  return {
    service,
    enabled: flags.every((flag) => flag.enabled),
    flags: flags.map((flag) => ({ ...flag, changed_at: flag.changed_at.toISOString() })),
  };
}
