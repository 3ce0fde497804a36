import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

/** A Kubernetes object as its file has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** The objects of a folder as `kubectl apply -f` takes them: in the order of the files' names, without folders in it. */
export function readManifests(folder: string): Manifest[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
  return files.sort().flatMap((name) => parseManifests(readFileSync(join(folder, name), 'utf8')));
}

/** Parses YAML like kubectl: by version 1.1, in which `off` is a boolean. A repeated key is an error. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1' }).map((document) => {
    for (const problem of [...document.errors, ...document.warnings]) throw problem;
    return document.toJS();
  });
}

/**
 * Returns the violations of Kubernetes' own schemas in an object, including unknown fields. The validators don't
 * report unknown fields, but they read each known one. A field that was never read is therefore unknown.
 */
export async function mistakesOf(manifest: Manifest): Promise<string[]> {
  const { apiVersion, kind } = manifest;
  // The package also contains the schemas of removed versions.
  if (!/(?:^|\/)v\d+$/.test(apiVersion)) return [`${apiVersion} is no stable version`];
  const models = await import(`kubernetes-models/${apiVersion}/${kind}`).catch(() => undefined);
  if (models === undefined) return [`there is no ${kind} in ${apiVersion}`];
  const looked = new Map<object, Set<string | symbol>>();
  const mistakes: string[] = [];
  try {
    models[kind].prototype.validate.call(watch(manifest, looked));
  } catch (error) {
    mistakes.push((error as Error).message);
  }
  return [...mistakes, ...unknownFields(manifest, looked, kind)];
}

/** Records the keys that are read, of an object and everything below it. */
function watch<T>(value: T, looked: Map<object, Set<string | symbol>>): T {
  if (typeof value !== 'object' || value === null) return value;
  const keys = looked.get(value) ?? new Set();
  looked.set(value, keys);
  return new Proxy(value, {
    get(target, key) {
      keys.add(key);
      return watch(Reflect.get(target, key), looked);
    },
  });
}

function unknownFields(value: unknown, looked: Map<object, Set<string | symbol>>, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const where = `${path}.${key}`;
    return looked.get(value)?.has(key) ? unknownFields(child, looked, where) : [`${where} is unknown`];
  });
}
