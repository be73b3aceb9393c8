/** The OpenAPI document, generated from the schemas that check the requests. */
import swagger from "@fastify/swagger";
import { VERSION } from "@linkspan/worker";
import type { FastifyInstance } from "fastify";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";

const DESCRIPTION = `Send messages as linked identities and read what is sent to them.

Every request carries \`Authorization: Bearer lsp_…\`. A token belongs to a workspace and a role; one that is
for all workspaces names the workspace in \`X-Linkspan-Workspace\` (without it: \`default\`). Errors are
RFC 9457 problems; branch on \`code\`.`;

/** Call it before the routes are registered. */
export async function describeApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    exposeHeadRoutes: true, // those that a route of ours declares; their operation ids end in -head
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Linkspan",
        version: VERSION,
        description: DESCRIPTION,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer", bearerFormat: "lsp_…" } } },
      security: [{ token: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => withoutUnused(jsonSchemaTransformObject(document)),
  });
}

type Document = ReturnType<typeof jsonSchemaTransformObject>;

/**
 * Each named schema exists in two forms, for requests and for answers; most are used only in answers. Sorted
 * by name: otherwise the order would depend on the order in which modules are loaded.
 */
function withoutUnused(document: Document): Document {
  if (!("components" in document)) return document;
  const paths = JSON.stringify(document.paths);
  const schemas = Object.fromEntries(
    Object.entries(document.components?.schemas ?? {})
      .filter(([name]) => !name.endsWith("Input") || paths.includes(`"#/components/schemas/${name}"`))
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  return { ...document, components: { ...document.components, schemas } } as Document;
}
