// A certificate to hand in: dropped, chosen or pasted. DER becomes PEM here. A private key is noticed before anything
// is sent.
import { useId, useState } from 'preact/hooks';
import { is_der_key } from '../api/keys';
import { texts } from '../texts';
import { visible } from './words';

const MOST = 1_000_000;

export async function pem_of(file: Blob, label = 'CERTIFICATE'): Promise<string> {
  const raw = new Uint8Array(await file.arrayBuffer());
  const text = new TextDecoder().decode(raw);
  if (raw[0] !== 0x30 || text.includes('-----BEGIN')) return text;
  let binary = '';
  for (const byte of raw) binary += String.fromCharCode(byte);
  const lines = btoa(binary).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

interface PemProps {
  label: string;
  hint?: string;
  value: string;
  on: (text: string) => void;
  key_wanted?: boolean;
  fault?: string | undefined;
}

export function PemField({ label, hint, value, on, key_wanted, fault }: PemProps) {
  const id = useId();
  const t = texts.value.pem;
  const [over, set_over] = useState(false);
  const [from, set_from] = useState('');
  const [trouble, set_trouble] = useState('');
  const take = (text: string, name: string) => {
    if (!key_wanted && text.includes('PRIVATE KEY-----')) {
      set_trouble(t.private_key);
      set_from('');
      on('');
      return;
    }
    if (key_wanted && text.includes('-----BEGIN') && !text.includes('PRIVATE KEY-----')) {
      set_trouble(t.no_key);
      set_from('');
      on('');
      return;
    }
    set_trouble('');
    set_from(name);
    on(text);
  };
  const read = async (file: File | undefined) => {
    if (!file) return;
    // What is refused leaves nothing of the one before.
    const refuse = (why: string) => {
      set_trouble(why);
      set_from('');
      on('');
    };
    if (file.size > MOST) refuse(t.too_large);
    else if (!key_wanted && is_der_key(new Uint8Array(await file.slice(0, 64).arrayBuffer()))) refuse(t.private_key);
    else take(await pem_of(file, key_wanted ? 'PRIVATE KEY' : 'CERTIFICATE'), file.name);
  };
  const said = trouble || fault;
  return (
    <div
      class={`pem${over ? ' pem-over' : ''}${said ? ' pem-bad' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        set_over(true);
      }}
      onDragLeave={() => set_over(false)}
      onDrop={(event) => {
        event.preventDefault();
        set_over(false);
        void read(event.dataTransfer?.files[0]);
      }}
    >
      <div class="pem-head">
        <label for={id}>{label}</label>
        <label class="button button-small pem-choose">
          {t.choose}
          <input type="file" class="out-of-sight" aria-label={`${t.choose}: ${label}`} onChange={(event) => void read(event.currentTarget.files?.[0])} />
        </label>
      </div>
      <p class="hint" id={`${id}-hint`}>
        {hint && <span class="pem-what">{hint}</span>}
        {from && value ? t.read(visible(from)) : t.drop}
      </p>
      <textarea
        id={id}
        rows={4}
        spellcheck={false}
        autocomplete="off"
        aria-describedby={`${id}-hint${said ? ` ${id}-fault` : ''}`}
        aria-invalid={Boolean(said)}
        value={value}
        onInput={(event) => take(event.currentTarget.value, '')}
      />
      {said && (
        <p class="fault" id={`${id}-fault`} role="alert">
          {said}
        </p>
      )}
    </div>
  );
}
