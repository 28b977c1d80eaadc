// SPDX-License-Identifier: Apache-2.0

// Conntap writes a line for every connection on a Linux interface or in a
// capture file, as Zeek's conn.log does.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:]))
}
