import { expect, test } from 'vitest';
import { ruleOnVisit } from './visit-rules.ts';
import type { VisitQuestion } from './visit-rules.ts';

const open = '11111111-1111-4111-8111-111111111111';
const other = '22222222-2222-4222-8222-222222222222';
const publicId = 'eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee';
const none = { publicId, direct: false, rule: undefined, wanted: 'a.test:80' };
const isOpen = { id: open, isPrivate: false };
const isPrivate = { id: open, isPrivate: true };

const cases: readonly [
  name: string,
  question: Partial<VisitQuestion> & { id: string },
  ruling: string | number,
][] = [
  ['a public visitor goes where the ingress says', { id: publicId, rule: isOpen }, open],
  ['a public visitor of no host', { id: publicId }, 7],
  ['a public visitor of a private tunnel', { id: publicId, rule: isPrivate }, 6],
  ['nor does `tunnel.direct` help', { id: publicId, rule: isPrivate, direct: true }, 6],
  ['a visitor who says the tunnel of the host', { id: open, rule: isOpen }, open],
  ['so for a private one, which is for those who know it', { id: open, rule: isPrivate }, open],
  ['a visitor who says another tunnel', { id: other, rule: isOpen }, 6],
  ['a visitor of a host that nobody serves', { id: open }, 6],
  ['a visitor who may go anywhere', { id: other, rule: isOpen, direct: true }, other],
  ['the same without a rule', { id: other, direct: true }, other],
  ['no private tunnel is for strangers', { id: open, rule: isPrivate, isStranger: true }, 6],
  ['nor directly', { id: open, rule: isPrivate, isStranger: true, direct: true }, 6],
  ['others are', { id: open, rule: isOpen, isStranger: true }, open],
  ['without a public id nobody is public', { id: publicId, rule: isOpen, publicId: undefined }, 6],
];

test.each(cases)('%s', (_, question, expected) => {
  const ruling = ruleOnVisit({ ...none, ...question });
  expect('id' in ruling ? ruling.id : ruling.status).toBe(expected);
});
