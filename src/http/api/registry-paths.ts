import { MEDIA_TYPES } from '../../oci/manifest.ts';
import { SPECIFICATION_CODES } from '../registry-api/errors.ts';

const text = (description: string, more: object = {}): object => ({ type: 'string', description, ...more });
const inPath = (name: string, description: string): object => ({
  ...{ name, in: 'path', required: true, description, schema: { type: 'string', minLength: 1 } },
});
const inQuery = (name: string, description: string, schema: object = { type: 'string' }): object => ({
  ...{ name, in: 'query', description, schema },
});
const json = (schema: object): object => ({ 'application/json': { schema } });
const digestHeader = { 'Docker-Content-Digest': { schema: text('The digest of the whole content.') } };
const binary = { type: 'string', format: 'binary' };

/** The schema of the registry API's errors. @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes */
export const REGISTRY_SCHEMAS = {
  RegistryErrors: {
    title: 'RegistryErrors',
    description: 'Errors as the OCI distribution specification defines them.',
    type: 'object',
    required: ['errors'],
    properties: {
      errors: {
        type: 'array',
        items: {
          type: 'object',
          required: ['code', 'message'],
          properties: {
            code: text('An error code of the specification.', {
              enum: [...new Set(Object.values(SPECIFICATION_CODES))].sort(),
            }),
            message: text('A sentence about this case.'),
            detail: {
              type: 'object',
              description: 'The `code` of the error in this service, and its members.',
            },
          },
        },
      },
    },
  },
};

const ERROR = {
  description: 'The error as the OCI distribution specification defines it.',
  content: json({ $ref: '#/components/schemas/RegistryErrors' }),
};
const UNCHANGED = { description: 'The client already has this content, according to If-None-Match.' };
const NAME = inPath(
  'name',
  'The repository: `ghcr.io/org/app`. It begins with the host or the configured name of its registry. Otherwise, it is on Docker Hub.',
);
const NAMESPACE = inQuery(
  'ns',
  'The host of the registry, as containerd states it. This host takes precedence over the one in the name.',
);

interface Operation {
  readonly id: string;
  readonly summary: string;
  readonly parameters: readonly object[];
  readonly responses: Readonly<Record<string, object>>;
}

/** Describes GET and HEAD of a resource. */
function resource({ id, summary, parameters, responses }: Operation): object {
  const operation = { summary, tags: ['Registry'], parameters, responses: { ...responses, default: ERROR } };
  return {
    get: { operationId: `get${id}`, ...operation },
    head: { operationId: `head${id}`, ...operation },
  };
}

/** The paths of the registry API in the OpenAPI document. One route serves all of them, because names contain slashes. */
export const REGISTRY_PATHS: Readonly<Record<string, object>> = {
  '/v2/': resource({
    id: 'RegistryVersion',
    summary: 'Support of the registry API',
    parameters: [],
    responses: {
      200: { description: 'The service has the registry API.', content: json({ type: 'object' }) },
    },
  }),
  '/v2/{name}/manifests/{reference}': resource({
    id: 'RegistryManifest',
    summary: 'A manifest or an index, byte for byte',
    parameters: [NAME, inPath('reference', 'A tag or a digest.'), NAMESPACE],
    responses: {
      200: {
        description: 'The manifest, with the media type that its registry states.',
        headers: digestHeader,
        content: Object.fromEntries(
          Object.values(MEDIA_TYPES).map((type) => [type, { schema: { type: 'object' } }]),
        ),
      },
      304: UNCHANGED,
    },
  }),
  '/v2/{name}/blobs/{digest}': resource({
    id: 'RegistryBlob',
    summary: 'A blob, or a range of it',
    parameters: [NAME, inPath('digest', 'The digest of the blob.'), NAMESPACE],
    responses: {
      200: {
        ...{ description: 'The blob.', headers: digestHeader },
        content: { 'application/octet-stream': { schema: binary } },
      },
      206: {
        ...{ description: 'The range that the Range header requests.', headers: digestHeader },
        content: { 'application/octet-stream': { schema: binary } },
      },
      304: UNCHANGED,
    },
  }),
  '/v2/{name}/tags/list': resource({
    id: 'RegistryTags',
    summary: 'The tags of a repository, in ASCII order',
    parameters: [
      ...[NAME, NAMESPACE],
      inQuery('n', 'The maximum number of tags.', { type: 'integer', minimum: 0 }),
      inQuery('last', 'A tag. The list begins after it.'),
    ],
    responses: {
      200: {
        description: 'The tags. A Link header names the next page.',
        content: json({
          type: 'object',
          required: ['name', 'tags'],
          properties: {
            name: text('The repository as the path names it.'),
            tags: { type: 'array', items: { type: 'string' } },
          },
        }),
      },
    },
  }),
  '/v2/{name}/referrers/{digest}': resource({
    id: 'RegistryReferrers',
    summary: 'The manifests that refer to a manifest, as an index',
    parameters: [
      ...[NAME, inPath('digest', 'The digest of the manifest.'), NAMESPACE],
      inQuery('artifactType', 'The type of the listed manifests.'),
    ],
    responses: {
      200: {
        description: 'The index. It is empty if nothing refers to the manifest.',
        content: { [MEDIA_TYPES.ociIndex]: { schema: { type: 'object' } } },
      },
    },
  }),
};
