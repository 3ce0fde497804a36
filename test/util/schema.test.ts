import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Type as TypeBox } from 'typebox';
import { Type } from '../../src/util/schema.ts';

suite('schemas', () => {
  test('equal those of TypeBox', () => {
    const made = (by: typeof Type) =>
      by.Object(
        {
          name: by.String({ minLength: 1, description: 'A name.' }),
          kind: by.Union([by.Literal('docker'), by.Literal('oci')], { default: 'docker' }),
          size: by.Optional(by.Integer({ minimum: 0 })),
          tags: by.Array(by.Object({ name: by.String(), isNewest: by.Boolean() }), { maxItems: 3 }),
          owner: by.Unsafe<object>({ $ref: 'Owner#' }),
          contact: by.Union([by.String(), by.Null()]),
          nothing: by.Object({ left: by.Optional(by.String({ description: 'Left out.' })) }),
        },
        { description: 'All of it.', additionalProperties: false },
      );
    assert.equal(JSON.stringify(made(Type)), JSON.stringify(made(TypeBox)));
  });
});
