// SPDX-License-Identifier: Apache-2.0

package collector

// The flags stand here alone. Debian keeps asm/types.h in a folder per machine;
// clang passes over folders that aren't there.

//go:generate go tool bpf2go -target bpfel -output-stem conntap -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" conntap ../bpf/conntap.bpf.c
//go:generate go tool bpf2go -target bpfel -output-stem owner -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" owner ../bpf/owner.bpf.c
