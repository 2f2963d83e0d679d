// The API's objects, as admin/docs/api.md has them.
export type DeviceStatus = 'active' | 'inactive' | 'pending' | 'revoked';
export type Counts = Record<DeviceStatus, number>;

export interface Ca {
  id: string;
  serial: string;
  subject: string;
  cn: string;
  status: 'active' | 'inactive';
  not_before: string;
  not_after: string;
  key_type: string;
  auto_register: boolean;
  approve: boolean;
  from_config: boolean;
  registered_at: string;
  devices: Counts;
  sessions?: number | null;
  devices_online?: number | null;
  admitted_through?: string[] | null;
}

export interface LastRefusal {
  reason: string;
  at: string;
  listener: string;
  peer: string;
  what: string;
  claimed: boolean;
}

export interface Device {
  id: string;
  serial: string;
  subject: string;
  cn: string;
  ca_id: string;
  status: DeviceStatus;
  effective_status: string;
  not_before: string | null;
  not_after: string | null;
  key_type: string;
  registered_at: string;
  registered_by: 'auto' | 'operator' | 'crl';
  last_seen: string | null;
  last_seen_to: 'day' | 'second' | null;
  last_refusal?: LastRefusal | null;
  chain?: ChainMember[]; // from the one that signed it upwards
  sessions: number;
}

export interface ChainMember {
  id: string;
  subject: string;
  serial: string;
  not_before: string | null;
  not_after: string | null;
  registered: boolean;
  standing: string;
}

export interface Crl {
  id: string;
  ca_id: string;
  scope: string | null;
  number: string | null;
  this_update: string;
  next_update: string | null;
  entries: number | null;
  imported_at: string | null;
  overdue: boolean;
}

export interface CrlOutcome {
  ca_id: string | null;
  entries: number;
  revoked: number;
  held: number;
  not_seen_yet: number;
  cas_deactivated: number;
  unchanged: number;
}

export interface Step {
  step: number;
  what: string;
  found: string;
}

export interface Explanation {
  admitted: boolean;
  reason: string | null;
  what_to_do: string | null;
  id: string;
  subject: string;
  serial: string;
  at: string;
  steps: Step[];
  stopped_at?: number | null;
  source?: 'certificate' | 'refusal';
  refused_at?: string | null;
}

export interface Refusal {
  id: string;
  reason: string;
  listener: string;
  peer: string;
  what: string;
  claimed: boolean;
  last: string;
}

export interface RefusalGroup {
  reason: string;
  what_to_do: string;
  fingerprint: string | null;
  subject: string;
  issuer: string;
  serial: string;
  count: number;
  claimed_count: number;
  peers: number;
  last_peer: string;
  listeners: string[];
  first: string;
  last: string;
  ids: string[];
  node?: string;
}

export interface AuditRecord {
  at: string;
  who: string;
  from: string;
  action: string;
  target: string;
  before: string;
  after: string;
  revision: number;
}

export interface Server {
  server: string;
  state: string;
  drained: boolean;
  sessions: number;
  addresses: { address: string; state: string; slow_start: boolean; sessions: number }[];
  failures: Record<string, number>;
  name_error: string | null;
}

export interface Upstream {
  name: string;
  balance: string;
  health: string;
  servers: Server[];
}

export interface Status {
  version: string;
  uptime_seconds: number;
  state: string;
  io: string;
  sessions: number;
  rejections: Record<string, number>;
  clones: number;
  listeners: { name: string; sessions: number; handshakes: number; rejections: number }[];
  shards: { sessions: number; busy_ratio: number; closing: number }[];
  devices: Counts;
  devices_expiring_within_30d: number;
  cas: { active: number; inactive: number };
  crls: { imported: number; overdue: number };
  registration_queue: { depth: number; limit: number };
  imports: { running: number; certificates_read: number; registered: number; failed: number };
  store_stalled: boolean;
  upstreams: Upstream[];
  reload: { at: string; refused: string | null };
  revision: number;
}

export interface Attention {
  kind: string;
  severity: 'error' | 'warning' | 'info';
  what: string;
  count: number;
  about: string;
}

export interface Sample {
  at: string;
  seconds: number;
  sessions: number;
  handshakes_per_second: Record<string, number>;
  rejections_per_second: Record<string, number>;
  ended_per_second: number;
  registrations_per_second: number;
  bytes_per_second: { to_broker: number; to_client: number };
  upstreams: { name: string; servers_up: number; servers: number; sessions: number }[];
}

export interface ServerCertificate {
  id: string;
  serial: string;
  subject: string;
  cn: string;
  names: string[];
  not_before: string;
  not_after: string;
  key_type: string;
  chain_length: number;
  added_at: string;
  used_by: string[];
}

export interface Listener {
  name: string;
  address: string;
  auth: 'mutual' | 'one-way';
  protocol: string;
  upstream: string;
  tls_engine: string;
  server_certificates: string[];
  overrides: { auth?: string; server_certificate?: string };
}

export interface LiveSession {
  id: string;
  device_id: string | null;
  cn: string | null;
  ca_id: string | null;
  listener: string;
  peer: string;
  via: string | null;
  client_id: string;
  server: string | null;
  mqtt_version: string | null;
  tls_version: string | null;
  resumed: boolean;
  state: string;
  since: string;
  node?: string; // where another machine, or all, were asked
}

// One of those that share the registry; a registry of its own has this one alone.
export interface Machine {
  name: string;
  revision: number;
  behind: number;
  lag_seconds: number;
  last_seen_seconds_ago: number;
  version: string;
}

export interface Token {
  name: string;
  role: 'viewer' | 'operator';
  created_at: string;
  expires_at: string | null;
  token?: string | null;
}

export interface Setting {
  key: string;
  of: string | null;
  value: unknown;
  source: 'default' | 'file' | 'run-time';
  file_value: unknown;
  default: unknown;
  changes_by: string;
  waits: unknown;
}

export interface RunningConfig {
  file: string;
  needs_restart: string[];
  settings: Setting[];
}

export interface Bulk {
  matched: number;
  would_change: number;
  sessions: number;
  changed: number;
  failed: { id: string; cn?: string; error: string }[];
  failed_omitted?: number;
  cursor: string | null;
  as_of?: string; // of a dry run: the moment it looked at
  came_since?: number; // of a run with as_of: registered after it, and left out
}

export interface ImportOutcome {
  registered: number;
  already: number;
  failed: number;
  complete: boolean;
  failures: { line: number; reason: string; detail: string }[];
  failures_omitted: number;
}
