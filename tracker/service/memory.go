// SPDX-License-Identifier: Apache-2.0

package service

import "unsafe"

// StateBytes is what a Monitor keeps of a connection, at most, bytes; the payload that
// it holds beside that is bounded for all connections together.
const StateBytes = int(unsafe.Sizeof(state{}))
