import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { sumOf, type TextColumn } from '../../contents/columns.ts';
import type { FileTree } from '../../contents/file-tree.ts';
import { decodePath, nodeAt, requireFiles } from '../../download/image-file.ts';
import { isJsonObject, parseJsonObject } from '../../oci/json.ts';
import type { FilesRequest, OpenedFiles } from '../../sources/contents/image-files.ts';
import { inSlices } from '../../util/in-slices.ts';
import { Type } from '../../util/schema.ts';
import { type FileOptions, parseFileQuery } from '../download/file-route.ts';
import { downloadLimits } from '../download/limits.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { bytesParameter } from '../protocol/bytes-parameter.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';

const PAGE_SIZE = 1000;
/** Bytes of the paths on a page, so that long ones do not make a page of many megabytes. */
const PAGE_TEXT = 512 * 1024;

const IMAGE = {
  myimage: Type.String({ minLength: 1, description: 'An image.', examples: ['busybox'] }),
  platform: Type.Optional(Type.String({ minLength: 1, description: 'As in a download.' })),
};

const FilesQuery = Type.Object(
  {
    ...IMAGE,
    path: Type.Optional(
      Type.String({ minLength: 1, description: 'A directory, or one file. Default: `/`.' }),
    ),
    recursive: Type.Optional(
      Type.Union([Type.Literal('0'), Type.Literal('1')], {
        description: '`1` to list everything below the directory.',
      }),
    ),
    after: Type.Optional(
      Type.String({ minLength: 1, description: 'The value of `next` on the previous page.' }),
    ),
  },
  { additionalProperties: false },
);

const File = Type.Object(
  {
    path: Type.String({
      description: 'Replacement characters stand for bytes that are not UTF-8.',
      examples: ['/etc/os-release'],
    }),
    encodedPath: Type.String({
      description: 'The path, percent-encoded for `&path=` in a URL.',
      examples: ['/etc/os-release'],
    }),
    type: Type.String({
      description: '`file`, `directory`, `symlink`, `character`, `block`, or `fifo`.',
    }),
    size: Type.Integer({ minimum: 0, description: 'Bytes.' }),
    mode: Type.Integer({ minimum: 0, description: 'Permission bits, setuid, setgid, and sticky included.' }),
    uid: Type.Integer({ minimum: 0 }),
    gid: Type.Integer({ minimum: 0 }),
    mtime: Type.String({ format: 'date-time' }),
    link: Type.Union([Type.String(), Type.Null()], { description: 'The target of a symbolic link.' }),
    layer: Type.Integer({ minimum: 0, description: 'The index of its layer, from the base.' }),
  },
  { title: 'File' },
);

const FilePage = Type.Object(
  {
    digest: Type.String({ description: 'The digest of the manifest.' }),
    isRead: Type.Boolean({
      description:
        'True if the service has read all layers. False if some files are from the table of contents in an eStargz or zstd:chunked layer.',
    }),
    path: Type.String({ description: 'The listed directory, with links followed.' }),
    files: Type.Array(File),
    next: Type.Union([Type.String(), Type.Null()], {
      description: 'The value of `after` for the next page; null on the last page.',
    }),
  },
  { title: 'FilePage' },
);

const Layers = Type.Object(
  {
    digest: Type.String({ description: 'The digest of the manifest.' }),
    layers: Type.Array(
      Type.Object({
        digest: Type.String(),
        diffId: Type.String(),
        command: Type.Union([Type.String(), Type.Null()], {
          description: 'The command that made the layer.',
        }),
        size: Type.Integer({ minimum: 0, description: 'Bytes, compressed.' }),
        unpackedSize: Type.Integer({ minimum: 0, description: 'Bytes of the unpacked tar archive.' }),
        entries: Type.Integer({ minimum: 0, description: 'Files, directories, and whiteouts in the layer.' }),
        added: Type.Integer({ minimum: 0, description: 'Files that it adds, directories excluded.' }),
        changed: Type.Integer({
          minimum: 0,
          description: 'Files of lower layers that it replaces, directories excluded.',
        }),
        removed: Type.Integer({
          minimum: 0,
          description: 'Whiteouts: files of lower layers that it removes.',
        }),
        visible: Type.Integer({ minimum: 0, description: 'Files of the layer that the image shows.' }),
        hiddenBytes: Type.Integer({
          minimum: 0,
          description: 'Bytes of its files that later layers replace or remove.',
        }),
      }),
    ),
  },
  { title: 'Layers' },
);

/** `GET /api/v1/files` and `GET /api/v1/layers`: the files of an image, and its layers with what they add. */
export const filesRoutes: FastifyPluginAsyncTypebox<FileOptions> = async (app, options) => {
  const { files, allowlist, limits, contentsOnDemand } = options;
  const requestOf = async (
    request: Parameters<typeof downloadLimits>[1],
    query: { readonly myimage: string; readonly platform?: string },
    signal: AbortSignal,
  ): Promise<FilesRequest> => {
    const { reference, platform } = parseFileQuery({ ...query, myimage: [query.myimage] });
    allowlist.check(reference);
    const own = downloadLimits(limits, request, signal);
    const slot = { references: [reference], platform, format: 'rootfs', have: undefined } as const;
    const conditions = own.reading(slot, contentsOnDemand);
    const reading = conditions === 'none' ? undefined : conditions;
    const onCostly = () => own.takeSlot(slot);
    const credential = await credentialFor(request, [reference]);
    return { reference, platform, reading, onCostly, client: own.client, credential };
  };

  app.get(
    '/api/v1/files',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'listFiles',
        summary: 'The files of an image',
        description: `Pages of at most ${PAGE_SIZE}. 202 with Retry-After if too many bytes of layers would have to be read first.`,
        tags: ['API'],
        querystring: FilesQuery,
        response: { 200: FilePage, ...problemResponses },
      },
    },
    async (request, reply) => {
      const { path: _, recursive, after, ...query } = request.query;
      const path = bytesParameter(request.url, 'path') ?? '/';
      const signal = abortOnDisconnect(reply);
      const asked = await requestOf(request, query, signal);
      const { image, archive } = await requireFiles(files).list(asked, signal);
      const { tree, isRead } = image;
      const node = nodeAt({ image, archive }, path);
      const listed = await inSlices(
        page(tree, node, recursive === '1', after && pathOfCursor(after)),
        signal,
      );
      return reply.header('cache-control', 'private, max-age=30').send({
        digest: archive.digests[0] ?? '',
        isRead,
        path: shown(tree.path(node)),
        files: listed.nodes.map((one) => describe(tree, one)),
        next: listed.next === undefined ? null : cursorOf(tree.path(listed.next)),
      });
    },
  );

  app.get(
    '/api/v1/layers',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'listLayers',
        summary: 'The layers of an image, with what they add and hide',
        tags: ['API'],
        querystring: Type.Object(IMAGE, { additionalProperties: false }),
        response: { 200: Layers, ...problemResponses },
      },
    },
    async (request, reply) => {
      const signal = abortOnDisconnect(reply);
      const asked = await requestOf(request, request.query, signal);
      const opened = await requireFiles(files).open(asked, signal);
      return reply.header('cache-control', 'private, max-age=30').send({
        digest: opened.archive.digests[0] ?? '',
        layers: layersOf(opened),
      });
    },
  );
};

/** Lists a directory in byte order of its paths, depth first; one file alone for a file. */
function* page(
  tree: FileTree,
  top: number,
  isRecursive: boolean,
  after: string | undefined,
): Generator<void, { readonly nodes: number[]; readonly next: number | undefined }> {
  if (tree.file(top).type !== 'directory') return { nodes: [top], next: undefined };
  const nodes: number[] = [];
  let text = 0;
  const isFull = (): boolean => nodes.length > PAGE_SIZE || text > PAGE_TEXT;
  const enter = function* (node: number, passed: readonly string[]): Generator<void, Level> {
    const children = yield* tree.children(node);
    const [first] = passed;
    return { children, at: first === undefined ? 0 : firstAtLeast(children, first, tree), passed };
  };
  const names = after?.slice(tree.path(top).length).split('/').filter(Boolean) ?? [];
  // A list, because thousands of nested calls would exhaust the stack.
  const levels = [yield* enter(top, names)];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const child = level.children[level.at++];
    if (child === undefined) {
      levels.pop();
      continue;
    }
    const [first, ...rest] = level.passed;
    const isPassed = first !== undefined && tree.name(child) === first;
    if (!isPassed) {
      nodes.push(child);
      text += tree.path(child).length;
    }
    if (isFull()) return { nodes: nodes.slice(0, -1), next: nodes.at(-2) };
    if (isRecursive && tree.file(child).type === 'directory')
      levels.push(yield* enter(child, isPassed ? rest : []));
  }
  return { nodes, next: undefined };
}

/** A directory that is being listed. */
interface Level {
  readonly children: Int32Array;
  /** The index of the next child. */
  at: number;
  /** The names below the directory that the previous page ended at. */
  readonly passed: readonly string[];
}

/** Finds the first child whose name is not less than the given one, by bisection. */
function firstAtLeast(children: Int32Array, name: string, tree: FileTree): number {
  let [low, high] = [0, children.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tree.name(children[middle] ?? 0) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function describe(tree: FileTree, node: number) {
  const { type, size, mode, uid, gid, mtime, link, layer } = tree.file(node);
  return {
    path: shown(tree.path(node)),
    encodedPath: percentEncode(tree.path(node)),
    ...{ type, size, mode, uid, gid, layer },
    mtime: new Date(mtime * 1000).toISOString(),
    link: type === 'symlink' ? decodePath(link) : null,
  };
}

function layersOf({ image: { tree, layers, diffIds }, configBytes }: OpenedFiles) {
  const config = parseJsonObject(configBytes);
  const history = Array.isArray(config?.history) ? config.history.filter(isJsonObject) : [];
  const commands = history
    .filter(({ empty_layer: isEmpty }) => isEmpty !== true)
    .map(({ created_by: command }) => (typeof command === 'string' ? command : null));
  const visible = layers.map(() => ({ count: 0, bytes: 0 }));
  let last = -1;
  for (const node of tree.files()) {
    const own = visible[tree.dataLayer(node)];
    if (own === undefined) continue;
    own.count += 1;
    if (tree.dataIndex(node) !== last) own.bytes += tree.file(node).size;
    last = tree.dataIndex(node);
  }
  return layers.map(({ digest, size }, at) => {
    const table = tree.layers[at];
    const all = table === undefined ? 0 : sumOf(table.columns.sizes);
    return {
      ...{ digest, size, diffId: diffIds[at] ?? '' },
      command: commands.length === layers.length ? (commands[at] ?? null) : null,
      unpackedSize: table?.unpackedSize ?? 0,
      entries: table?.count ?? 0,
      ...(tree.changes[at] ?? { added: 0, changed: 0 }),
      removed: table === undefined ? 0 : countWhiteouts(table.columns.paths),
      visible: visible[at]?.count ?? 0,
      hiddenBytes: all - (visible[at]?.bytes ?? 0),
    };
  });
}

/** Counts the names that begin with `.wh.`. */
function countWhiteouts({ bytes, ends }: TextColumn): number {
  let [count, start] = [0, 0];
  for (const end of ends) {
    const slash = bytes.subarray(start, end).lastIndexOf(0x2f);
    if (bytes.toString('latin1', start + slash + 1, Math.min(start + slash + 5, end)) === '.wh.') count += 1;
    start = end;
  }
  return count;
}

/** Writes a path so that a URL needs no encoding, and that names stay that are not UTF-8. */
function cursorOf(path: string): string {
  return Buffer.from(path, 'latin1').toString('base64url');
}

function pathOfCursor(cursor: string): string {
  return Buffer.from(cursor, 'base64url').toString('latin1');
}

function shown(path: string): string {
  return `/${decodePath(path)}`;
}

function percentEncode(path: string): string {
  const encode = (byte: string): string =>
    `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  return `/${path.replace(/[^\w./~-]/g, encode)}`;
}
