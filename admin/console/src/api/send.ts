// A large body with its progress: fetch() does not tell how much was sent, XMLHttpRequest does.
import { person_asks, server_lost, session_over } from '../session';
import { headers_of, problem_of, Problem } from './http';

export interface Sending<T> {
  answer: Promise<T>;
  abort: () => void;
}

export function send<T>(path: string, body: Blob, type: string, told: (share: number) => void): Sending<T> {
  const request = new XMLHttpRequest();
  person_asks();
  const answer = new Promise<T>((done, failed) => {
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers_of({ method: 'POST', raw: body, type }))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      person_asks();
      if (event.lengthComputable && event.total > 0) told(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        done(JSON.parse(request.responseText) as T);
        return;
      }
      if (request.status === 401) session_over('ended');
      failed(problem_of(request.status, request.responseText));
    };
    request.onerror = () => {
      server_lost();
      failed(new Problem(0, 'unreachable', ''));
    };
    request.onabort = () => failed(new Problem(-1, 'stopped', ''));
    request.send(body);
  });
  return { answer, abort: () => request.abort() };
}
