// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"

	"conntap/tracker"
	"conntap/tracker/connlog"
)

// Connection explains state and history of a connection that is there, so that the
// two need no check, in a few lines.
func Connection(transport tracker.Transport, state tracker.State, history string) string {
	proto := transport.String()
	var b strings.Builder
	fmt.Fprintf(&b, "%-6s %-4s %s\n", state, connlog.Symbol(state), inWords(proto, state, history))
	writeLetters(&b, "  ", proto, history)
	return b.String()
}
