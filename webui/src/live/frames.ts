// What the socket of live figures says.

import type { Message, Schemas } from '../api/client';
import type { Key } from '../lib/history';

export type ServerFigures = Schemas['ServerStatus'] & { calls: number; lag: string; lagExact: boolean; backlog: string; point?: Schemas['StatsPoint'] };

export interface TopicFigures {
  name: string;
  kind: Schemas['TopicKind'];
  paused: boolean;
  depth: string;
  firstOffset: string;
  nextOffset: string;
  bytes: string;
  in: number;
  out: number;
  consumers: number;
  groups: number;
  worstLag: string;
  worstLagGroup?: string;
  worstLagSeconds: number;
  /** What happened in the last second; what is 0 is left out. Of one topic alone, and by the socket. */
  second?: Second;
}

export type Second = Partial<Record<Key, number>>;

export interface GroupFigures {
  name: string;
  filter: string;
  paused: boolean;
  settle: Schemas['SettleMode'];
  cursor: string;
  lag: string;
  lagExact: boolean;
  lagSeconds?: number;
  rate: number;
  /** What passes the filter and what goes out for the first time, a second over the last minute. */
  in: number;
  out: number;
  drain?: number;
  inFlight: string;
  returned: string;
  consumers: number;
  version: string;
  /** Absent where nothing happened, or where the topic has none. */
  second?: Second;
}

export interface ServiceRow extends Omit<Schemas['Service'], 'providers' | 'methods'> {
  providers: number;
  methods: number;
}

type Dropped = { droppedAnswers: Schemas['DroppedAnswers'] };

export interface Figures {
  server: ServerFigures;
  attention: Schemas['Attention'];
  topics: { topics: TopicFigures[] };
  groups: { groups: (GroupFigures & { topic: string; kind: Schemas['TopicKind'] })[] };
  topic: Omit<TopicFigures, 'groups'> & { groups: GroupFigures[] };
  rpc: { services: ServiceRow[] } & Dropped;
  /** Without the schemas of the methods. */
  service: Schemas['Service'] & Partial<Dropped>;
  sessions: { sessions: Schemas['Session'][]; total?: number };
  audit: { entries: Schemas['AuditEntry'][] };
}

export type Channel = keyof Figures;

export interface TailFrame {
  messages: Message[];
  missed: string;
}

export interface TailQuery {
  topic: string;
  filter?: string;
  text?: string;
  header?: string;
  limit?: number;
}

export type ServerFrame =
  | { type: 'watching'; ref?: string; watch: string; channel: string }
  | { type: 'figures'; watch: string; channel: string; seq: number; time: string; data: unknown }
  | { type: 'beat'; time: string }
  | { type: 'tail'; watch: string; messages: Message[]; missed?: string }
  | { type: 'problem'; ref?: string; watch?: string; code: string; detail: string }
  | { type: 'ended'; watch?: string; sub?: string; code: string; detail: string }
  | { type: 'ok'; ref?: string };
