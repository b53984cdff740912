// What somebody comes with in the address: the secret of the link by which the first administrator
// is set, ui/setup#SECRET, or what an issuer has sent this browser back with, ui/sso?code=…&state=….
// It is taken out of the address before anything else looks at that, so that it is in no history.

const here = /\/setup$/.test(location.pathname);
const back = /\/sso$/.test(location.pathname);
const place = 'zbus.back'; // where the console was when somebody went to the issuer

export const secret = here ? location.hash.slice(1) : '';
if (here) history.replaceState(null, '', './');

const said = new URLSearchParams(back ? location.search : '');
/** What the issuer says; undefined: nobody comes from it. */
export const answer = back ? { code: said.get('code') ?? '', state: said.get('state') ?? '', iss: said.get('iss') ?? undefined, error: said.get('error') ?? '' } : undefined;
if (back) history.replaceState(null, '', './' + (/^#\//.exec(kept())?.input ?? ''));

function kept(): string {
  try {
    return sessionStorage.getItem(place) ?? '';
  } catch {
    return ''; // this browser keeps nothing
  }
}

/** leave goes to the page of an issuer, and keeps where one was. */
export function leave(url: string) {
  try {
    sessionStorage.setItem(place, location.hash);
  } catch {
    // then one comes back to the first page
  }
  location.assign(url);
}
