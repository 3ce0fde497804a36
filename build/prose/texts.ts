import { parseSync } from 'rolldown/utils';

/** A paragraph that a person reads: one line of plain words, with `code` in place of code. */
export interface Paragraph {
  /** The number of its first line in the file, from 1. */
  readonly line: number;
  readonly text: string;
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly [key: string]: unknown;
}

const CODE = /\.(?:[cm]?[jt]s)$/;
/** Files whose comments begin with `#`; most files without an extension are scripts and settings. */
const MARKED_BY_HASH = /\.(?:sh|ya?ml|toml|conf|cfg|service|socket)$|(?:^|\/)\.?[^./]+$/;
/** Strings with other languages in them: SQL, Lua for Redis, and CSS. */
const FOREIGN = /^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|WITH|BEGIN|ALTER)\b|redis\.call|KEYS\[/;
const TESTS = new Set(['test', 'suite', 'it', 'describe']);
/** Folders with data of all kinds in their strings, so that only the names of tests are read. */
const DATA = /^(?:test|bench|load)\//;

/** Reads what a person reads of a file: its prose, its comments, and in code also messages and names of tests. */
export function paragraphsOf(path: string, text: string): Paragraph[] {
  if (path.endsWith('.md')) return ofMarkdown(text);
  if (CODE.test(path)) return ofCode(path, text);
  if (path.endsWith('.json')) return ofJson(text);
  if (path.endsWith('.html')) return ofMarkup(text);
  if (path.endsWith('.css')) return ofComments(text, /\/\*([\s\S]*?)\*\//g);
  if (MARKED_BY_HASH.test(path)) return ofComments(text, /(?<=^|\n)(?:[ \t]*#(?!!)[^\n]*(?:\n|$))+/g);
  return [];
}

function ofMarkdown(text: string): Paragraph[] {
  const prose = text
    .replace(/^---\n[\s\S]*?\n---\n/, blank)
    .replace(/^( *)(```|~~~)[\s\S]*?^\1\2[^\n]*$/gm, blank)
    .replace(/<!--[\s\S]*?-->/g, blank);
  const paragraphs: Paragraph[] = [];
  let lines: string[] = [];
  let line = 1;
  const end = () => {
    if (lines.length > 0) paragraphs.push(paragraph(line, lines.join(' ')));
    lines = [];
  };
  for (const [index, raw] of prose.split('\n').entries()) {
    const row = raw.trim();
    if (row === '' || /^(?: {4,}|\t)\S/.test(raw) || /^\|?[\s:|-]+$/.test(row)) {
      end();
    } else if (row.startsWith('|')) {
      end();
      for (const cell of row.split('|')) if (cell.trim() !== '') paragraphs.push(paragraph(index + 1, cell));
    } else {
      if (/^(?:#{1,6}|[-*+]|\d+[.)]|>)\s/.test(row)) end();
      if (lines.length === 0) line = index + 1;
      lines.push(row.replace(/^(?:#{1,6}|[-*+]|\d+[.)]|>)\s+/, ''));
      if (row.startsWith('#')) end();
    }
  }
  end();
  return paragraphs;
}

function ofCode(path: string, text: string): Paragraph[] {
  const { program, comments, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} cannot be parsed: ${errors[0]?.message}`);
  const lineAt = lineFinder(text);
  const paragraphs = joined(comments, text).flatMap(({ value, start }) => ofComment(value, lineAt(start)));
  for (const { start, value } of stringsOf(program as unknown as Node, DATA.test(path))) {
    if (/\p{L}+ .*\p{L}/u.test(value) && !FOREIGN.test(value))
      for (const part of value.split(/\n(?=[\n ])/)) paragraphs.push(paragraph(lineAt(start), part));
  }
  return paragraphs;
}

interface Comment {
  readonly type: string;
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** Joins comments of `//` in consecutive lines. */
function joined(comments: readonly Comment[], text: string): Comment[] {
  const all: Comment[] = [];
  for (const comment of comments) {
    const last = all.at(-1);
    const isNext =
      last?.type === 'Line' &&
      comment.type === 'Line' &&
      /^\s*$/.test(text.slice(last.end, comment.start)) &&
      text.slice(last.end, comment.start).split('\n').length === 2;
    if (isNext) all[all.length - 1] = { ...last, value: `${last.value}\n${comment.value}`, end: comment.end };
    else all.push(comment);
  }
  return all;
}

function ofComment(value: string, line: number): Paragraph[] {
  if (/^\s*(?:biome-ignore|@ts-|\/ <reference|#)/.test(value)) return [];
  const prose = value
    .replace(/^[ \t]*\*[ \t]?|^[ \t]/gm, '')
    .replace(/@see\s+\S+|@(?:param|throws|typedef|type|template)\s+(?:\{[^}]*\}\s*)?\S*|@\w+/g, '\n\n')
    .replace(/\{@link (\S+?)\}/g, '$1');
  return ofMarkdown(prose).map((part) => ({ ...part, line: line + part.line - 1 }));
}

/** Yields strings with their values, templates with `code` for each expression, and joins those added by `+`. */
function* stringsOf(node: Node, onlyNames: boolean): Generator<{ start: number; value: string }> {
  if (node.type === 'CallExpression' && isTest(node.callee as Node)) {
    const [name] = node.arguments as Node[];
    const value = name === undefined ? undefined : textIn(name);
    if (name !== undefined && value !== undefined && onlyNames) yield { start: name.start, value };
  }
  const value = onlyNames || node.type.startsWith('Import') ? undefined : textIn(node);
  if (value !== undefined) yield { start: node.start, value };
  const isString = value !== undefined;
  for (const child of children(node)) {
    if (
      !isString ||
      (child.type !== 'Literal' && child.type !== 'TemplateElement' && child.type !== 'BinaryExpression')
    )
      yield* stringsOf(child, onlyNames);
  }
}

function isTest({ type, name, object, property }: Node & { object?: Node; property?: Node }): boolean {
  if (type === 'MemberExpression')
    return TESTS.has(`${property?.name}`) || (object !== undefined && isTest(object));
  return type === 'Identifier' && TESTS.has(`${name}`);
}

function textIn(node: Node): string | undefined {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node.type === 'TemplateLiteral')
    return (node.quasis as { value: { cooked: string } }[]).map(({ value }) => value.cooked).join('`code`');
  if (node.type !== 'BinaryExpression' || node.operator !== '+') return undefined;
  const sides = [textIn(node.left as Node), textIn(node.right as Node)];
  return sides.every((side) => side === undefined)
    ? undefined
    : sides.map((side) => side ?? '`code`').join('');
}

function children(node: Node): Node[] {
  return Object.values(node)
    .flat()
    .filter((child): child is Node => typeof child === 'object' && child !== null && 'type' in child);
}

function ofJson(text: string): Paragraph[] {
  return [...text.matchAll(/"(?:[^"\\]|\\.)*"\s*:\s*("(?:[^"\\]|\\.)*")/g)].flatMap((match) => {
    const line = text.slice(0, match.index).split('\n').length;
    return `${JSON.parse(match[1] ?? '""')}`.split(' | ').map((part) => paragraph(line, part));
  });
}

function ofMarkup(text: string): Paragraph[] {
  const lineAt = lineFinder(text);
  return [...text.matchAll(/>([^<>]+)</g)]
    .filter(([, words = '']) => /\p{L}+ \p{L}/u.test(words))
    .map((match) => paragraph(lineAt(match.index), match[1] ?? ''));
}

/** Reads the comments that a pattern finds: its first group, else the lines after `#`. */
function ofComments(text: string, pattern: RegExp): Paragraph[] {
  const lineAt = lineFinder(text);
  return [...text.matchAll(pattern)].flatMap((match) => {
    const value = match[1] ?? match[0].replace(/^[ \t]*#+/gm, '');
    // A commented-out setting is not prose.
    const prose = value.replace(/^\s*[\w.-]+\s*[=:](?:\s.*)?$/gm, '');
    return ofComment(prose, lineAt(match.index));
  });
}

function paragraph(line: number, text: string): Paragraph {
  const plain = text
    .replace(/!?\[([^\]]*)\]\((?:[^()]|\([^()]*\))*\)/g, '$1')
    .replace(/(`+)[^`]*(?:`(?!\1)[^`]*)*?\1/g, '`code`')
    .replace(/https?:\/\/\S+[^\s.,;:)]/g, '`code`')
    .replace(/<[/\w][^>]*>/g, '')
    .replace(/\*\*|(?<!\w)[*_]|[*_](?!\w)/g, '')
    .replace(/\s+/g, ' ')
    .trim();
  return { line, text: plain };
}

/** Keeps the lines of what it blanks, so that the numbers of later lines stay right. */
function blank(text: string): string {
  return text.replace(/[^\n]/g, '');
}

function lineFinder(text: string): (offset: number) => number {
  const starts = [...text.matchAll(/\n/g)].map(({ index }) => index);
  return (offset) => starts.filter((start) => start < offset).length + 1;
}
