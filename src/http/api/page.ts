import type { ErrorEntry } from '../../errors.ts';
import { escapeHtml } from '../../util/escape-markup.ts';

/** The parts of an OpenAPI document that this page reads. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly tags?: readonly { readonly name: string; readonly description?: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly responses?: Readonly<Record<string, Response>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly example?: unknown;
}

interface Response {
  readonly description?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

interface Route {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/**
 * Renders an OpenAPI document and the error catalogue as a page for people.
 *
 * @param assets the path of the style sheets: `/assets/HASH`
 */
export function renderApiPage(document: ApiDocument, errors: readonly ErrorEntry[], assets: string): string {
  const { info, tags = [], paths } = document;
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method]) => method === 'get')
      .map(([method, operation]): Route => ({ method: method.toUpperCase(), path, operation })),
  );
  const sections = tags.map(({ name, description = '' }) => {
    const own = routes.filter(({ operation }) => operation.tags?.includes(name));
    return own.length === 0
      ? ''
      : `<h2>${inline(name)}</h2><p>${inline(description)}</p>${own.map(route).join('')}`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>The API of ${inline(info.title)}</title>
<link rel="icon" href="${assets}/icon.svg">
<link rel="stylesheet" href="${assets}/portal.css">
<link rel="stylesheet" href="${assets}/api.css">
</head>
<body>
<header><a class="brand" href="/"><img src="${assets}/icon.svg" alt="" width="28" height="28">DockerProxy</a></header>
<main>
<h1>API</h1>
<p class="lead">${inline(info.description ?? '')} Version ${inline(info.version)}, as <a href="/openapi.json">OpenAPI</a>.</p>
${sections.join('\n')}
<h2>Errors</h2>
<p>Each code stands in the member <code>code</code> of the problem.</p>
${table(
  ['Code', 'Status', 'Advice'],
  errors.map(({ code, status, help }) => [`<code>${code}</code>`, `${status}`, inline(help)]),
)}
</main>
</body>
</html>
`;
}

function route({ method, path, operation }: Route): string {
  const { summary = '', description = '', parameters = [], responses = {} } = operation;
  const answer = responses['200'];
  const [[type, { schema = {} } = {}] = []] = Object.entries(answer?.content ?? {});
  return `<article class="card">
<h3><code>${method} ${escapeHtml(path)}</code></h3>
<p><strong>${inline(summary)}.</strong> ${inline(description)}</p>
${table(
  ['Parameter', ''],
  parameters.map(({ name, required, description: told = '' }) => [
    `<code>${escapeHtml(name)}</code>${required === true ? ' (required)' : ''}`,
    inline(told),
  ]),
)}
${type === 'application/json' ? table(['Answer', ''], rowsOf(schema)) : `<p><code>${escapeHtml(type ?? '')}</code>: ${inline(answer?.description ?? '')}</p>`}
${example(path, parameters)}
</article>`;
}

/** A link to try an operation, if the document has an example for each parameter. */
function example(path: string, parameters: readonly Parameter[]): string {
  const needed = parameters.filter(({ required }) => required === true);
  if (!path.startsWith('/api/') || needed.some((parameter) => parameter.example === undefined)) return '';
  const query = needed
    .map(({ name, example: value }) => `${name}=${encodeURIComponent(`${value}`)}`)
    .join('&');
  const url = escapeHtml(query === '' ? path : `${path}?${query}`);
  return `<p>Try <a href="${url}"><code>${url}</code></a></p>`;
}

function rowsOf({ properties = {} }: Schema, prefix = ''): string[][] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const inner = [schema, ...(schema.anyOf ?? [])].find((one) => one.properties ?? one.items?.properties);
    const below = inner?.properties === undefined ? inner?.items : inner;
    const path = `${prefix}${name}${inner?.items === undefined ? '' : '[]'}`;
    const first = `<code>${escapeHtml(path)}</code><small>${escapeHtml(typeOf(schema))}</small>`;
    const row = [first, inline(schema.description ?? '')];
    return [row, ...(below === undefined ? [] : rowsOf(below, `${path}.`))];
  });
}

function typeOf({ type, enum: values, items, anyOf }: Schema): string {
  if (anyOf !== undefined) return anyOf.map(typeOf).join(' or ');
  if (values !== undefined) return values.join(' or ');
  return type === 'array' ? `list of ${typeOf(items ?? {})}` : (type ?? '');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const cells = (tag: string, texts: readonly string[]): string =>
    `<tr>${texts.map((text) => `<${tag}>${text}</${tag}>`).join('')}</tr>`;
  const headings = head.map((text) => (text === '' ? '<td></td>' : `<th scope="col">${text}</th>`)).join('');
  const body = rows.map((row) => cells('td', row)).join('\n');
  return `<table><thead><tr>${headings}</tr></thead><tbody>${body}</tbody></table>`;
}

/** Text of the document, in which backticks mark code. */
function inline(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}
