import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import type { TSchema } from 'typebox';
import { METALINK_TYPE } from '../../download/metalink.ts';
import {
  PARAMETER_NAMES,
  PARAMETERS,
  PATH_NAMES,
  type ParameterName,
  STATUS_NAMES,
} from '../../download/parameters.ts';
import { Type } from '../../util/schema.ts';
import { Problem, problemResponses } from '../problems/problem-schema.ts';
import { packFile, type StaticFile, sendFile } from '../protocol/packed-text.ts';
import type { ServiceInfo } from './info.ts';
import { REGISTRY_PATHS, REGISTRY_SCHEMAS } from './registry-paths.ts';

/** Describes some parameters of a download. */
const parametersOf = (names: readonly ParameterName[]) =>
  Type.Object(Object.fromEntries(names.map((name) => [name, PARAMETERS[name]])));

const binaryOf = (types: readonly string[]) =>
  Object.fromEntries(
    types.map((type) => [
      type,
      { schema: Type.String({ format: 'binary', contentMediaType: type }) as TSchema },
    ]),
  );
/** An archive, or a file as it is. */
const BINARY = binaryOf(['application/x-tar', 'application/octet-stream']);
const TAR = {
  description:
    'The archive, with Content-Length, a strong ETag, Docker-Content-Digest, Content-Disposition, and Link headers for its metalink and its replicas (RFC 6249).',
  content: {
    ...BINARY,
    // With `compress`.
    ...binaryOf(['application/gzip', 'application/zstd']),
    'text/plain': {
      schema: Type.String({
        description: 'A checksum, if the request asks for one, as `sha256sum -c` reads it.',
      }),
    },
    [METALINK_TYPE]: {
      schema: Type.String({ description: 'A metalink (RFC 5854), if the request asks for one.' }),
    },
  },
};
/** Documents a response without a body. */
const NO_BODY = { type: 'null' } as const;
const REDIRECT = {
  ...NO_BODY,
  description: 'The URL of the file by digest, if the request asks for it.',
  headers: { Location: Type.String({ description: 'Relative to this service.' }) },
};
const PART = { ...TAR, description: 'The range that the Range header requests.' };
const FILE = {
  description: 'The file, or a tar archive of the directory, with Content-Length and a strong ETag.',
  content: BINARY,
};
const FILE_PART = { ...FILE, description: PART.description };
const UNCHANGED = {
  ...NO_BODY,
  description: 'The client already has this file, according to If-None-Match or If-Modified-Since.',
};

type OpenApiObject = Extract<
  Parameters<NonNullable<FastifyDynamicSwaggerOptions['transformObject']>>[0],
  { openapiObject: object }
>['openapiObject'];

interface Documentation {
  readonly url?: string;
  readonly schema: Readonly<Record<string, unknown>>;
}

/** Routes that parse their own queries, so their schemas do not validate requests. */
const DOCUMENTED: Readonly<Record<string, Documentation>> = {
  '/dl': {
    schema: {
      operationId: 'getArchive',
      summary: 'One image, or several, as one tar file',
      description: 'Ranges and conditional requests work as RFC 9110 defines them. HEAD fetches no layer.',
      tags: ['Download'],
      querystring: parametersOf(PARAMETER_NAMES),
      response: { 200: TAR, 206: PART, 304: UNCHANGED, 307: REDIRECT, ...problemResponses },
    },
  },
  '/dl/*': {
    url: '/dl/{image}.tar',
    schema: {
      operationId: 'getArchiveByPath',
      summary: 'An image as a tar file, by its path',
      description:
        'For clients that take the name of the file from the URL. Append `.sha256` for its checksum, or `.meta4` for its metalink.',
      tags: ['Download'],
      params: Type.Object({
        image: Type.String({
          minLength: 1,
          description: 'The image, with slashes if needed: `ghcr.io/org/app:1.2`.',
        }),
      }),
      querystring: parametersOf(PATH_NAMES),
      response: { 200: TAR, 206: PART, 304: UNCHANGED, 307: REDIRECT, ...problemResponses },
    },
  },
  '/file': {
    schema: {
      operationId: 'getFile',
      summary: 'One file of an image, or a directory as a tar file',
      description: 'Ranges and conditional requests work as RFC 9110 defines them.',
      tags: ['Download'],
      querystring: Type.Object({
        myimage: Type.String({ minLength: 1, description: 'The image.', examples: ['busybox'] }),
        platform: PARAMETERS.platform,
        path: Type.String({
          minLength: 1,
          description: 'The absolute path of the file or directory in the image.',
          examples: ['/etc/os-release'],
        }),
      }),
      response: { 200: FILE, 206: FILE_PART, 304: UNCHANGED, ...problemResponses },
    },
  },
  '/dl/status': {
    schema: {
      operationId: 'watchArchive',
      summary: 'The progress of a download that takes time to prepare',
      description:
        'Events: `queued` {ahead}, `pulling` {image, layers}, `saving` {bytes}, then `ready` {filename, size, digests} or `error`, a problem. Then close the connection, because an EventSource would reconnect.',
      tags: ['Download'],
      querystring: parametersOf(STATUS_NAMES),
      response: {
        200: {
          description: 'Server-sent events.',
          content: { 'text/event-stream': { schema: Type.String() as TSchema } },
        },
        ...problemResponses,
      },
    },
  },
  '/healthz': {
    schema: {
      operationId: 'getHealth',
      summary: 'Health of the service',
      tags: ['Service'],
      response: {
        200: {
          description: 'The service is healthy.',
          content: { 'application/json': { schema: Type.Object({ status: Type.Literal('ok') }) } },
        },
        ...problemResponses,
      },
    },
  },
};

/**
 * Describes all routes at `/openapi.json`, from the schemas that validate their requests. Register it before them.
 *
 * @see https://spec.openapis.org/oas/v3.1.0
 */
export async function openapi(
  app: FastifyInstance,
  { version, registryApi }: Pick<ServiceInfo, 'version' | 'registryApi'>,
): Promise<void> {
  const transform: FastifyDynamicSwaggerOptions['transform'] = ({ schema, url }) => {
    const documented = DOCUMENTED[url];
    if (documented !== undefined) return { schema: documented.schema, url: documented.url ?? url };
    return { schema: schema?.summary === undefined ? { ...schema, hide: true } : schema, url };
  };
  app.addSchema(Problem);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'DockerProxy',
        version,
        description:
          'Any container image as one tar file. Requests need no key and no account. Errors are problem details (RFC 9457), except in the registry API.',
      },
      tags: [
        { name: 'Download', description: 'Archives, and files of images.' },
        { name: 'API', description: 'Details of an image before its download.' },
        ...(registryApi ? [{ name: 'Registry', description: 'The OCI distribution API, for reading.' }] : []),
        { name: 'Service', description: 'For operators.' },
      ],
    },
    transform,
    transformObject: (document) =>
      'openapiObject' in document
        ? withRegistryPaths(withHeadIds(document.openapiObject), registryApi)
        : document.swaggerObject,
    refResolver: { buildLocalReference: ({ $id }, _base, _fragment, at) => `${$id ?? at}` },
  });
  let document: StaticFile | undefined;
  app.get('/openapi.json', async (request, reply) => {
    document ??= packFile(JSON.stringify(app.swagger()), 'application/json; charset=utf-8');
    return sendFile(request, reply.header('cache-control', 'public, max-age=300'), document);
  });
}

/** Gives HEAD operations their own identifiers, because a route for GET and HEAD has one schema with one identifier. */
function withHeadIds({ paths, ...rest }: OpenApiObject): OpenApiObject {
  const distinct = Object.entries(paths ?? {}).map(([path, item]) => {
    const { head } = item ?? {};
    const operationId = head?.operationId?.replace(/^get/, 'head');
    return [path, head === undefined ? item : { ...item, head: { ...head, operationId } }];
  });
  return { ...rest, paths: Object.fromEntries(distinct) };
}

function withRegistryPaths(document: OpenApiObject, registryApi: boolean): OpenApiObject {
  if (!registryApi) return document;
  const { paths, components } = document;
  const schemas = { ...components?.schemas, ...REGISTRY_SCHEMAS };
  return {
    ...document,
    paths: { ...paths, ...REGISTRY_PATHS },
    components: { ...components, schemas },
  } as OpenApiObject;
}
