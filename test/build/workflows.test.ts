import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { Type } from '@fastify/type-provider-typebox';
import { Value } from 'typebox/value';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..', '..');
const folder = join(root, '.github', 'workflows');

/** Those parts of the workflow syntax that the workflows use; a misspelt key is an error. */
const closed = { additionalProperties: false };
const texts = Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]));
const step = Type.Union([
  Type.Object({ name: Type.Optional(Type.String()), run: Type.String(), env: Type.Optional(texts) }, closed),
  Type.Object(
    {
      name: Type.Optional(Type.String()),
      uses: Type.String({ pattern: '^actions/[a-z-]+@v[0-9]+$' }),
      with: Type.Optional(texts),
    },
    closed,
  ),
]);
const permissions = Type.Object(
  { contents: Type.Union([Type.Literal('read'), Type.Literal('write')]) },
  closed,
);
const job = Type.Object(
  {
    'runs-on': Type.Literal('ubuntu-24.04'),
    'timeout-minutes': Type.Integer({ minimum: 1 }),
    container: Type.Optional(
      Type.Object({ image: Type.String(), options: Type.Optional(Type.String()) }, closed),
    ),
    needs: Type.Optional(Type.String()),
    permissions: Type.Optional(permissions),
    steps: Type.Array(step, { minItems: 1 }),
  },
  closed,
);
const filter = Type.Object(
  { branches: Type.Optional(Type.Array(Type.String())), tags: Type.Optional(Type.Array(Type.String())) },
  closed,
);
const workflow = Type.Object(
  {
    name: Type.String(),
    on: Type.Object({ push: filter, pull_request: Type.Optional(Type.Null()) }, closed),
    permissions,
    concurrency: Type.Optional(
      Type.Object({ group: Type.String(), 'cancel-in-progress': Type.Boolean() }, closed),
    ),
    jobs: Type.Record(Type.String(), job),
  },
  closed,
);

suite('workflows', () => {
  for (const name of readdirSync(folder)) {
    test(`${name} has valid syntax, and runs scripts that exist`, () => {
      const parsed = parse(readFileSync(join(folder, name), 'utf8'));
      assert.deepEqual([...Value.Errors(workflow, parsed)], []);
      const lines: string[] = Object.values<{ steps: { run?: string }[] }>(parsed.jobs).flatMap(({ steps }) =>
        steps.flatMap(({ run = '' }) => run),
      );
      const scripts = lines.flatMap((line) => line.match(/(?<![\w/])(?:\.ci|deploy)\/[\w.]+/g) ?? []);
      assert.ok(scripts.length > 0);
      for (const script of scripts) assert.ok(existsSync(join(root, script)), script);
    });
  }
});
