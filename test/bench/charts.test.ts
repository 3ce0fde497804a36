import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawCharts, duration } from '../../bench/charts.ts';
import { measured } from '../../bench/samples.ts';
import { drawPicture } from '../../bench/svg.ts';

test('durations have their own unit', () => {
  assert.deepEqual([12.4, 999.4, 1500, 53_700].map(duration), ['12 ms', '999 ms', '1.5 s', '54 s']);
});

test('a bar is as long as its value, a reason stands in place of one, and text is escaped', () => {
  const bars = [
    { label: 'a < b', value: 100, accent: true },
    { label: 'half', value: 50, accent: false },
    { label: 'none', value: 'absent', accent: false },
  ];
  const svg = drawPicture({ title: 'T & U', subtitle: [], charts: [{ title: 'C', bars, format: String }] });
  const lengths = [...svg.matchAll(/class="(?:bar|accent)"[^>]* width="([\d.]+)"/g)].map(([, one]) =>
    Number(one),
  );
  assert.equal(lengths.length, 2);
  assert.equal(lengths[0], 2 * (lengths[1] ?? 0));
  assert.match(svg, />a &lt; b</);
  assert.match(svg, />T &amp; U</);
  assert.match(svg, />absent</);
});

test('every chart is drawn, whatever is absent', () => {
  const svg = drawCharts({
    ...{ date: '2026-01-01', machine: 'a machine', versions: {}, image: 'an image', targets: [] },
    rows: [measured('dockerproxy-cold', {}), { id: 'docker', absent: 'dockerd needs root' }],
  });
  assert.match(svg, />An image\.</);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
});
