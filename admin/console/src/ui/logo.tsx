// A gate with its portcullis.
export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <path class="logo-wall" d="M4 30V14a12 12 0 0 1 24 0v16z" />
      <path class="logo-bars" d="M10.5 30V12M16 30V9M21.5 30V12M6 17h20M6 23.5h20" />
    </svg>
  );
}
