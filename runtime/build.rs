//! Gives the shared library its name and keeps it loaded.

fn main() {
    // The soname is how a second copy finds the first, and how NEEDED entries find it at all.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhitmap_rt.so");
    // Instrumented code holds pointers into the region: the runtime is never unloaded.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
