import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { chooseExamples } from '../../../src/http/portal/examples.ts';

suite('examples of the start page', () => {
  test('are three images, with the download of the first one', () => {
    const { names, downloadUrl, filename } = chooseExamples(() => true);
    assert.equal(names.length, 3);
    assert.equal(downloadUrl, `/dl?myimage=${names[0]}`);
    assert.equal(filename, 'python_3.12-slim.tar');
  });

  test('are images that the service allows', () => {
    const { names, downloadUrl } = chooseExamples(({ domain }) => domain === 'quay.io');
    assert.deepEqual(names, ['quay.io/prometheus/prometheus']);
    assert.equal(downloadUrl, '/dl?myimage=quay.io/prometheus/prometheus');
  });

  test('are absent if the service allows no known image, and the command has a placeholder', () => {
    const { names, downloadUrl, filename } = chooseExamples(() => false);
    assert.deepEqual(names, []);
    assert.equal(downloadUrl, '/dl?myimage=name');
    assert.equal(filename, 'name.tar');
  });
});
