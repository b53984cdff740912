// The secret of the link by which the first administrator is set: ui/setup#SECRET. It is
// taken out of the address before anything else looks at that, so that it is in no history.

const here = /\/setup$/.test(location.pathname);

export const secret = here ? location.hash.slice(1) : '';
if (here) history.replaceState(null, '', './');
