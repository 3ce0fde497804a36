import type { ErrorEntry } from '../../errors.ts';
import { escapeHtml } from '../../util/escape-markup.ts';
import { EXAMPLES } from './examples.ts';

/** The parts of an OpenAPI document that this page reads. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly tags?: readonly { readonly name: string; readonly description?: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

interface Operation {
  readonly operationId?: string;
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

/** The themes of the portal, whose script keeps the chosen one. */
const THEME = `<select id="theme" class="js" aria-label="Theme" autocomplete="off">
<option value="auto">Auto</option><option value="light">Light</option><option value="dark">Dark</option>
</select>`;

/**
 * Renders an OpenAPI document, an example for each route, and the error catalogue as a page for people.
 *
 * @param assets the path of the style sheets: `/assets/HASH`
 * @param origin the origin of the service, for the examples: `https://dl.example.org`
 */
export function renderApiPage(
  document: ApiDocument,
  errors: readonly ErrorEntry[],
  assets: string,
  origin: string,
): string {
  const { info, tags = [], paths } = document;
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method]) => method === 'get')
      .map(([method, operation]): Route => ({ method: method.toUpperCase(), path, operation })),
  );
  const sections = tags
    .map((tag) => ({ ...tag, own: routes.filter(({ operation }) => operation.tags?.includes(tag.name)) }))
    .filter(({ own }) => own.length > 0);
  const contents = sections.map(
    ({ name, own }) =>
      `<li><a href="#${anchorOf(name)}">${inline(name)}</a><ul>${own.map(contentsLine).join('')}</ul></li>`,
  );
  const bodies = sections.map(
    ({ name, description = '', own }) =>
      `<h2 id="${anchorOf(name)}">${inline(name)}</h2><p>${inline(description)}</p>${own.map((one) => route(one, origin)).join('')}`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The API of ${inline(info.title)}</title>
<link rel="icon" href="${assets}/icon.svg">
<link rel="stylesheet" href="${assets}/portal.css">
<link rel="stylesheet" href="${assets}/api.css">
<script src="${assets}/theme.js"></script>
</head>
<body>
<header><a class="brand" href="/"><img src="${assets}/icon.svg" alt="" width="28" height="28">DockerProxy</a>${THEME}</header>
<main>
<h1>API</h1>
<p class="lead">${inline(info.description ?? '')} Version ${inline(info.version)}, as <a href="/openapi.json">OpenAPI</a>.</p>
<div role="navigation" aria-label="Contents" class="contents"><ul>${contents.join('')}<li><a href="#errors">Errors</a></li></ul></div>
${bodies.join('\n')}
<h2 id="errors">Errors</h2>
<p>The member <code>code</code> of an error has one of these codes.</p>
${folded(
  `${errors.length} codes`,
  table(
    ['Code', 'Status', 'Advice'],
    errors.map(({ code, status, help }) => [`<code>${code}</code>`, `${status}`, inline(help)]),
  ),
)}
</main>
</body>
</html>
`;
}

/** Returns the anchor of a section: `#download`. */
function anchorOf(name: string): string {
  return name.toLowerCase();
}

function contentsLine({ path, operation }: Route): string {
  const { operationId = '', summary = '' } = operation;
  return `<li><a href="#${operationId}"><code>${escapeHtml(path)}</code></a> ${inline(summary)}</li>`;
}

function route({ method, path, operation }: Route, origin: string): string {
  const { operationId = '', summary = '', description = '', parameters = [], responses = {} } = operation;
  const answer = responses['200'];
  const [[type, { schema = {} } = {}] = []] = Object.entries(answer?.content ?? {});
  const isJson = type === 'application/json';
  return `<article class="card" id="${operationId}">
<h3><a href="#${operationId}"><code>${method} ${escapeHtml(path)}</code></a></h3>
<p><strong>${inline(summary)}.</strong> ${inline(description)}</p>
${example(path, origin)}
${isJson ? '' : `<p><code>${escapeHtml(type ?? '')}</code>: ${inline(answer?.description ?? '')}</p>`}
${folded(
  'Parameters',
  table(
    ['Parameter', ''],
    parameters.map(({ name, required, description: told = '' }) => [
      `<code>${escapeHtml(name)}</code>${required === true ? ' (required)' : ''}`,
      inline(told),
    ]),
  ),
)}
${isJson ? folded('Members of the response', table(['Member', ''], rowsOf(schema))) : ''}
</article>`;
}

/** A line for a terminal, and what it prints. */
function example(path: string, origin: string): string {
  const shown = EXAMPLES[path];
  if (shown === undefined) return '';
  const { answer } = shown;
  const line = shown.line.replaceAll('{origin}', origin);
  const text = typeof answer === 'string' ? answer : formatJson(answer);
  return `<pre class="sample"><code>${escapeHtml(line)}</code></pre>
<pre class="answer"><code>${escapeHtml(text)}</code></pre>`;
}

const LINE_MAX = 76;

/** Formats JSON as people write it: a value that fits into a line stays in one line. */
export function formatJson(value: unknown, indent = ''): string {
  const short = JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, ' ');
  if (typeof value !== 'object' || value === null || short.length + indent.length <= LINE_MAX) return short;
  const inner = `${indent}  `;
  const isList = Array.isArray(value);
  const members = isList
    ? value.map((item: unknown) => formatJson(item, inner))
    : Object.entries(value).map(([key, item]) => `"${key}": ${formatJson(item, inner)}`);
  const [open, close] = isList ? '[]' : '{}';
  return `${open}\n${members.map((member) => inner + member).join(',\n')}\n${indent}${close}`;
}

/** Puts content behind a heading that opens it. */
function folded(heading: string, content: string): string {
  return content === '' ? '' : `<details><summary>${heading}</summary>${content}</details>`;
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

/** Escapes a text of the document, and marks the words in backticks as code. */
function inline(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}
