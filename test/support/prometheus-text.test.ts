import { expect, test } from 'vitest';
import { byResource, parsePrometheusText, sumOf } from './prometheus-text.ts';

const text = `# HELP apiserver_longrunning_requests [STABLE] Gauge of all active long-running requests
# TYPE apiserver_longrunning_requests gauge
apiserver_longrunning_requests{component="apiserver",group="",resource="pods",scope="cluster",verb="WATCH"} 3
apiserver_longrunning_requests{component="apiserver",group="",resource="pods",scope="namespace",verb="WATCH"} 1
apiserver_longrunning_requests{component="apiserver",group="apps",resource="deployments",scope="cluster",verb="WATCH"} 2
apiserver_longrunning_requests{component="apiserver",group="",resource="pods",scope="resource",verb="CONNECT"} 9
odd{text="a \\"quoted\\", comma"} 1.5e+03
`;

test('reads samples, labels and quotes', () => {
  expect(parsePrometheusText(text).at(-1)).toEqual({ name: 'odd', labels: { text: 'a "quoted", comma' }, value: 1500 });
});

test('sums by labels and by resource', () => {
  const samples = parsePrometheusText(text);
  expect(sumOf(samples, 'apiserver_longrunning_requests', { verb: 'WATCH' })).toBe(6);
  expect([...byResource(samples, 'apiserver_longrunning_requests', { verb: 'WATCH' })]).toEqual([
    ['core/pods', 4],
    ['apps/deployments', 2],
  ]);
});

test('refuses what is not a sample', () => {
  expect(() => parsePrometheusText('no sample')).toThrow('not a Prometheus sample');
});
